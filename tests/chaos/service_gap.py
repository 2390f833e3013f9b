"""How long realtime frames were not answered as planned after a fault. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A frame that takes longer was held up, even if its answer came.
HELD_UP_S = 1.0


@dataclass(frozen=True)
class RealtimeFrame:
    """One realtime frame as its device saw it; seconds of the machine's monotonic clock."""

    started_s: float
    ended_s: float
    degraded: bool
    failed: bool
    reason: str = ""

    @property
    def as_planned(self) -> bool:
        return not (self.degraded or self.failed or self.ended_s - self.started_s > HELD_UP_S)


@dataclass(frozen=True)
class Recovery:
    """Seconds after a fault until realtime frames were answered at all, and until all were as planned again.

    None: not before the next fault or the end. 0: never stopped.
    """

    answering_s: float | None
    as_planned_s: float | None


def recovery(frames: Sequence[RealtimeFrame], fault_s: float, until_s: float) -> Recovery:
    """From a fault at `fault_s` on, looking at frames that began before `until_s`."""
    later = sorted(
        (frame for frame in frames if fault_s <= frame.ended_s and frame.started_s < until_s),
        key=lambda frame: frame.started_s,
    )
    return Recovery(
        _back_s([(frame, not frame.failed) for frame in later], fault_s),
        _back_s([(frame, frame.as_planned) for frame in later], fault_s),
    )


def _back_s(judged: Sequence[tuple[RealtimeFrame, bool]], fault_s: float) -> float | None:
    """When the first good frame after the last bad one was answered; 0 if there is no bad one."""
    bad = [place for place, (_, good) in enumerate(judged) if not good]
    if not bad:
        return 0.0
    after = judged[bad[-1] + 1 :]
    return max(0.0, after[0][0].ended_s - fault_s) if after else None
