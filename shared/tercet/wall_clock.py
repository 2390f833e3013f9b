"""The wall clock, and the only place that reads it: what it says may be years off, and may jump.

Durations, deadlines and ages never come from it (`tercet.clock`, `tercet.durable.capture_time`). It dates what
people read, and is what clocks of several hosts are compared by. A wrong clock can be emulated; whoever shows
what comes of it says so.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from tercet.errors import SpecError

# Far enough for 1970 and for 2106.
MOST_S = 5e9


@dataclass(frozen=True)
class ClockJump:
    """Emulation: `after_s` seconds after the start of the process the wall clock jumps by `by_s` seconds."""

    after_s: float
    by_s: float

    @classmethod
    def parse(cls, text: str) -> ClockJump:
        """From AT:BY, such as 10:-3600; SpecError for anything else."""
        match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?):([+-]?\d{1,10}(?:\.\d+)?)", text, re.ASCII)
        if match is None or abs(float(match[2])) > MOST_S:
            raise SpecError(f"a clock jump is AT:BY in seconds, such as 10:-3600, not {text!r}")
        return cls(float(match[1]), float(match[2]))

    def __str__(self) -> str:
        # All digits: what settings say is read again.
        return f"{self.after_s:.12g}:{self.by_s:.12g}"


class WallClock:
    """Reads the machine's wall clock, wrong by what is emulated.

    Args:
        offset_s: emulation: how far the clock is ahead of the machine's. SpecError beyond 5·10⁹ s.
        jump: emulation: a jump while the process runs.
    """

    def __init__(self, offset_s: float = 0.0, jump: ClockJump | None = None) -> None:
        if not abs(offset_s) <= MOST_S:
            raise SpecError(f"an emulated clock is at most {MOST_S:g} s off, not {offset_s:g}")
        self._offset_s = offset_s
        self._jump = jump
        self._began_s = time.monotonic()

    def now_us(self) -> int:
        """Microseconds since 1970, never negative."""
        return max(0, time.time_ns() // 1000 + round(self._wrong_by_s() * 1e6))

    def now_iso(self) -> str:
        """Now in UTC, to the second, for people and documents."""
        return datetime.fromtimestamp(self.now_us() // 1_000_000, UTC).isoformat()

    @property
    def note(self) -> str:
        """For people: what is emulated, or nothing."""
        parts = [f"{self._offset_s:+g} s"] if self._offset_s else []
        if self._jump:
            parts.append(f"{self._jump.by_s:+g} s after {self._jump.after_s:g} s")
        return f"emulated, {' and '.join(parts)}" if parts else ""

    def _wrong_by_s(self) -> float:
        jumped = self._jump is not None and time.monotonic() - self._began_s >= self._jump.after_s
        return self._offset_s + (self._jump.by_s if self._jump and jumped else 0.0)


REAL_CLOCK = WallClock()
