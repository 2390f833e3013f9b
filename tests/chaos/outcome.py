"""What came of one seed, and of all seeds of a scenario. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from chaos.ledger import Books, broken_promises
from chaos.service_gap import RealtimeFrame, Recovery, recovery

if TYPE_CHECKING:
    from chaos.scenario import Plan

# The fact by which limits of time are stretched: the load of each processor, if it is over 1.
CROWDING = "load per processor"


@dataclass(frozen=True)
class Fault:
    """Something bad that was done, or the end of it; recovery is counted from `at_s` of the monotonic clock."""

    what: str
    at_s: float


@dataclass(frozen=True)
class Outcome:
    """One seed.

    Args:
        drained_s: from the last fault until every frame was stored; None if it never was.
        stuck: what did not happen in time.
        serving_again_s: what the scenario measured of recovery by itself.
        facts: what else a scenario measured.
    """

    scenario: str
    seed: int
    plan: Plan
    books: Books
    realtime: Sequence[RealtimeFrame]
    faults: Sequence[Fault]
    drained_s: float | None
    took_s: float
    stuck: Sequence[str] = ()
    serving_again_s: float | None = None
    further: Sequence[str] = ()
    facts: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def degraded(self) -> int:
        return sum(frame.degraded for frame in self.realtime)

    @property
    def failed(self) -> int:
        return sum(frame.failed for frame in self.realtime)

    @property
    def broken(self) -> list[str]:
        """Every promise that this seed broke, in words."""
        said = [*self.stuck]
        said += broken_promises(self.books)
        if self.failed:
            reason = next(frame.reason for frame in self.realtime if frame.failed)
            said.append(f"{self.failed} realtime frames failed, such as: {reason}")
        return said + list(self.further)

    def over(self, fact: str, limit_s: float) -> list[str]:
        """What to say of a measured time that is over its limit; nothing if it is not, or was not measured."""
        took_s, crowding = float(self.facts.get(fact, 0.0)), float(self.facts.get(CROWDING, 1.0))
        if took_s <= limit_s * crowding:
            return []
        return [
            f"{fact}: {took_s:g}, where {limit_s * crowding:.3g} may be at a load of {crowding:g} per processor"
        ]

    def with_further(self, said: Sequence[str]) -> Outcome:
        return replace(self, further=[*self.further, *said])

    def recoveries(self) -> list[Recovery]:
        """One per fault, each until the next."""
        ends = [*[fault.at_s for fault in self.faults[1:]], float("inf")][: len(self.faults)]
        return [
            recovery(self.realtime, fault.at_s, until_s) for fault, until_s in zip(self.faults, ends, strict=True)
        ]

    @property
    def recovery_s(self) -> float | None:
        """The longest time until what was hit served as planned again; None if that was not seen.

        Seen by realtime frames, or measured by the scenario where they are not concerned.
        """
        times = [each.as_planned_s for each in self.recoveries()] if self.realtime else []
        times.append(self.serving_again_s)
        # One that the next fault cut short has no time of its own.
        known = [time for time in times if time is not None]
        return max(known) if known else None


@dataclass(frozen=True)
class Row:
    """All seeds of a scenario, as a line of the table."""

    name: str
    promise: str
    seeds: int
    sent: int
    acknowledged: int
    lost: int
    duplicated: int
    realtime: int
    degraded: int
    failed: int
    dead: int
    expired: int
    recovery_s: tuple[float, float] | None
    broken: int

    @classmethod
    def of(cls, name: str, promise: str, outcomes: Sequence[Outcome]) -> Row:
        times = [outcome.recovery_s for outcome in outcomes if outcome.recovery_s is not None]
        return cls(
            name=name,
            promise=promise,
            seeds=len(outcomes),
            sent=sum(outcome.books.offered for outcome in outcomes),
            acknowledged=sum(outcome.books.acknowledged for outcome in outcomes),
            lost=sum(len(outcome.books.lost) for outcome in outcomes),
            duplicated=sum(len(outcome.books.duplicated) for outcome in outcomes),
            realtime=sum(len(outcome.realtime) for outcome in outcomes),
            degraded=sum(outcome.degraded for outcome in outcomes),
            failed=sum(outcome.failed for outcome in outcomes),
            dead=sum(len(outcome.books.dead) for outcome in outcomes),
            expired=sum(outcome.books.expired for outcome in outcomes),
            recovery_s=(median(times), max(times)) if times else None,
            broken=sum(bool(outcome.broken) for outcome in outcomes),
        )


_HEAD = (
    *("scenario", "seeds", "sent", "acked", "lost", "twice", "realtime", "degraded", "failed", "dead", "expired"),
    *("recovery s", "verdict"),
)


def table(rows: Sequence[Row]) -> str:
    """Columns for people; recovery is the median and the worst over the seeds."""
    lines = [_HEAD] + [
        (
            *(row.name, str(row.seeds), str(row.sent), str(row.acknowledged), str(row.lost), str(row.duplicated)),
            *(str(row.realtime), str(row.degraded), str(row.failed), str(row.dead), str(row.expired)),
            f"{row.recovery_s[0]:.1f} / {row.recovery_s[1]:.1f}" if row.recovery_s else "–",
            "kept" if not row.broken else f"BROKEN in {row.broken}",
        )
        for row in rows
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in (0, len(_HEAD) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
