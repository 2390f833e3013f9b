"""A slower machine, emulated: work that took t takes slowdown × t, the rest of it asleep.

Asleep and not busy, so that tiers that share one machine do not take each other's processor time. Whatever is
measured under a pace over 1 is emulation, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tercet.errors import SpecError

MOST = 1000.0


@dataclass(frozen=True)
class EmulatedPace:
    """How many times slower than it is this machine pretends to be; 1 changes nothing. SpecError outside 1…1000.

    Time is the calling thread's processor time, so that what neighbours take is not multiplied; with `wall`, for
    work that several threads or an accelerator share, it is the clock's.
    """

    slowdown: float = 1.0
    wall: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.slowdown <= MOST:
            raise SpecError(f"an emulated slow-down is 1 to {MOST:g}, not {self.slowdown:g}")

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """Block the calling thread for slowdown - 1 times what the body took; not if the body raises."""
        if self.slowdown == 1:
            yield
            return
        clock = time.perf_counter if self.wall else time.thread_time
        began_s = clock()
        yield
        time.sleep((self.slowdown - 1) * (clock() - began_s))

    @property
    def claimed(self) -> float:
        """What a visit on the wire says of it: 0 for none."""
        return 0.0 if self.slowdown == 1 else self.slowdown

    @property
    def note(self) -> str:
        """For people: "emulated, 6× slower", or nothing."""
        return "" if self.slowdown == 1 else f"emulated, {self.slowdown:g}× slower"


FULL_PACE = EmulatedPace()
