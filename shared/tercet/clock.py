"""Durations. Always the monotonic clock: wall clocks of small boards jump."""

from __future__ import annotations

import time


def now_us() -> int:
    """Microseconds on this process's monotonic clock."""
    return time.perf_counter_ns() // 1000


class Lap:
    """Measures the stages of one frame: each `take` is the time since the one before."""

    def __init__(self, start_us: int | None = None) -> None:
        self._last_us = now_us() if start_us is None else start_us

    def take(self) -> int:
        """Microseconds since the last `take`, at least 0."""
        now = now_us()
        lap_us, self._last_us = max(0, now - self._last_us), now
        return lap_us

    def peek(self) -> int:
        """Microseconds since the last `take`, without starting a new lap."""
        return max(0, now_us() - self._last_us)
