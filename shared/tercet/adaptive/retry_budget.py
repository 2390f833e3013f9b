"""How often a failed call may be tried again: a share of all calls, so that retries never multiply a failure.

When a peer that serves everybody fails, second tries of every call would double the load of those that are left.
"""

from __future__ import annotations

from tercet.errors import SpecError


class RetryBudget:
    """Not thread-safe.

    Args:
        share: retries per call in the long run.
        burst: retries that are allowed at once; also what there is at the start.
    """

    def __init__(self, *, share: float = 0.1, burst: int = 10) -> None:
        if not 0 <= share <= 1 or burst < 1:
            raise SpecError(f"a retry budget is a share of 0 to 1 and a burst of at least 1, not {share}, {burst}")
        self._share = share
        self._burst = burst
        self._left = float(burst)

    def called(self) -> None:
        """A first try was made."""
        self._left = min(self._burst, self._left + self._share)

    def take(self) -> bool:
        """Whether one retry may be made now; if so it is paid for."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
