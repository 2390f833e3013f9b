"""How far another host's wall clock is from a clock of ours, by messages that were sent anyway. Pure.

Ours is CLOCK_BOOTTIME, which never jumps within a boot: a comparison holds for the whole boot, whatever our own
wall clock does. A question sent at s and answered at r, by our clock, with the other's clock in the answer, says
that the other's clock stood at that somewhere between s and r: offset = answer − (s + r) / 2, within ± (r − s) / 2.
Of several exchanges the quickest says most.
Source: Cristian 1989, "Probabilistic clock synchronization", Distributed Computing 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tercet.documents import Document
from tercet.errors import SpecError

WINDOW = 32
# How far quartz clocks drift apart at most: what an older exchange is worth less.
DRIFT = 1e-4
# A wall clock that is steered, and not set, moves less than this between two looks.
JUMP_US = 500_000
# Boots of which comparisons are kept, and hosts of each.
KEPT_BOOTS = 8
KEPT_HOSTS = 4


@dataclass(frozen=True)
class Exchange:
    """A question and its answer: sent and received by our CLOCK_BOOTTIME, answered by the other's wall clock."""

    sent_us: int
    received_us: int
    answered_unix_us: int

    def __post_init__(self) -> None:
        if not 0 <= self.sent_us <= self.received_us:
            raise SpecError("an answer came before its question")

    @property
    def offset_us(self) -> int:
        return self.answered_unix_us - (self.sent_us + self.received_us) // 2

    @property
    def error_us(self) -> int:
        return (self.received_us - self.sent_us + 1) // 2

    def error_at_us(self, now_us: int) -> int:
        """The bound of the error by now, with what clocks may have drifted since."""
        return self.error_us + round(DRIFT * max(0, now_us - self.received_us))


class Comparison(Document):
    """In boot `boot_id` of ours, `host`'s wall clock less our CLOCK_BOOTTIME was `offset_us`, ± `error_us`."""

    boot_id: str
    host: str
    offset_us: int
    error_us: int


class HostClock:
    """What is known of one other host's clock in this boot: the best of the last exchanges. Not thread-safe."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=WINDOW)

    def add(self, exchange: Exchange) -> bool:
        """Take in one more; whether it contradicts those before, which are then forgotten: that clock was set."""
        best = self.best(exchange.received_us)
        jumped = False
        if best is not None:
            gap_us = abs(exchange.offset_us - best.offset_us)
            jumped = gap_us > exchange.error_us + best.error_at_us(exchange.received_us) + JUMP_US
        if jumped:
            self._exchanges.clear()
        self._exchanges.append(exchange)
        return jumped

    def best(self, now_us: int) -> Exchange | None:
        """The exchange that says most by now; None before the first."""
        return min(self._exchanges, key=lambda exchange: exchange.error_at_us(now_us), default=None)


class WallWatch:
    """Finds jumps of a wall clock against a clock that never jumps. Not thread-safe."""

    def __init__(self) -> None:
        self._gap_us: int | None = None

    def look(self, wall_us: int, boottime_us: int) -> int:
        """By how many microseconds the wall clock has been set since the last look; 0 if it was not."""
        gap_us = wall_us - boottime_us
        moved_us = 0 if self._gap_us is None else gap_us - self._gap_us
        self._gap_us = gap_us
        return moved_us if abs(moved_us) > JUMP_US else 0


class SavedComparisons(Document):
    """What a holder of durable frames keeps on disk of its clock: it is needed after the next restart."""

    format: int = 1
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True)
class ClockOffsets:
    """Comparisons of this boot and earlier ones, the latest last."""

    comparisons: tuple[Comparison, ...] = field(default=())

    def of(self, boot_id: str) -> dict[str, Comparison]:
        """Those of one boot, by host."""
        return {found.host: found for found in self.comparisons if found.boot_id == boot_id}

    def between(self, then: str, now: str) -> tuple[Comparison, Comparison] | None:
        """The comparisons with one host in both boots that together err least; None if there is no such host."""
        before, after = self.of(then), self.of(now)
        pairs = [(before[host], after[host]) for host in before.keys() & after.keys()]
        return min(pairs, key=lambda pair: (pair[0].error_us + pair[1].error_us, pair[0].host), default=None)

    def with_comparison(self, found: Comparison) -> ClockOffsets:
        """With `found` as the latest; those of the oldest boots, and of one boot's oldest hosts, are dropped."""
        others = [known for known in self.comparisons if (known.boot_id, known.host) != (found.boot_id, found.host)]
        return ClockOffsets(tuple(_latest([*others, found])))


def _latest(comparisons: Iterable[Comparison]) -> list[Comparison]:
    boots: dict[str, list[Comparison]] = {}
    for found in comparisons:
        # Taken out and put back: boots stand in the order of the last thing learnt in each.
        boots[found.boot_id] = [*boots.pop(found.boot_id, []), found]
    return [found for of_boot in list(boots.values())[-KEPT_BOOTS:] for found in of_boot[-KEPT_HOSTS:]]
