"""How long to wait before another try: twice as long each time, with jitter so that many do not come together."""

from __future__ import annotations

import random

from tercet.errors import SpecError


class BackOff:
    """Of one thing that is tried. Not thread-safe."""

    def __init__(self, first_s: float, most_s: float, *, seed: int | None = None) -> None:
        if not 0 < first_s <= most_s:
            raise SpecError(
                f"a back-off goes from a time over 0 up to a longer one, not {first_s:g} to {most_s:g} s"
            )
        self._random = random.Random(seed)
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s
        self.failures = 0

    def wait_s(self, retry_after_s: float | None = None) -> float:
        """After one more failure: how long to wait; at least what the other side asked for, within the most."""
        self.failures += 1
        wait_s = self._next_s * self._random.uniform(0.5, 1.0)
        self._next_s = min(self._most_s, 2 * self._next_s)
        return min(self._most_s, max(wait_s, retry_after_s or 0.0))

    def reset(self) -> None:
        """It worked."""
        self.failures = 0
        self._next_s = self._first_s
