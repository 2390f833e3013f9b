"""Leaves a failing peer alone for a while, then tries it again with one call.

closed ──failures in a row──▶ open ──after a pause──▶ half-open ──success──▶ closed
                               ▲────────failure, with a longer pause───┘

Source: Nygard, "Release It!", 2007, "Circuit Breaker"; pauses grow, with jitter so that many callers do not come
back together.
"""

from __future__ import annotations

import random
from typing import Literal

State = Literal["closed", "open", "half-open"]

FAILURES_TO_OPEN = 3
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
# A trial call that is never reported, e.g. because its caller was cancelled, must not block the next for ever.
TRIAL_S = 10.0


class CircuitBreaker:
    """One peer's. Not thread-safe; times are seconds of any one monotonic clock.

    Ask `allows` before a call that will be made; report how it ended by `succeeded` or `failed`.
    """

    def __init__(self, *, seed: int | None = None, longest_pause_s: float = LONGEST_PAUSE_S) -> None:
        self._random = random.Random(seed)
        self._longest_pause_s = longest_pause_s
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._closed = True
        self._retry_at_s = 0.0
        self._trial_until_s: float | None = None

    def state(self, now_s: float) -> State:
        if self._closed:
            return "closed"
        return "half-open" if now_s >= self._retry_at_s else "open"

    def allows(self, now_s: float) -> bool:
        """Whether to call now. In the half-open state only one caller gets a yes until its call is reported."""
        if self._closed:
            return True
        if now_s < self._retry_at_s or (self._trial_until_s is not None and now_s < self._trial_until_s):
            return False
        self._trial_until_s = now_s + TRIAL_S
        return True

    def retry_after_s(self, now_s: float) -> float:
        """How long until a call is allowed; 0 if it is."""
        if self._closed:
            return 0.0
        return max(0.0, self._retry_at_s - now_s, (self._trial_until_s or now_s) - now_s)

    def succeeded(self) -> None:
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._closed = True
        self._trial_until_s = None

    def abandoned(self) -> None:
        """A call was given up by its caller: says nothing of the peer."""
        self._trial_until_s = None

    def failed(self, now_s: float) -> None:
        """A call ended without an answer. Refusals by an overloaded peer are answers, not failures."""
        self._failures += 1
        trial = not self._closed
        if self._failures < FAILURES_TO_OPEN and not trial:
            return
        self.gone(now_s)

    def gone(self, now_s: float) -> None:
        """The peer is known not to answer: no further failures are needed to see it."""
        if not self._closed:
            self._pause_s = min(self._longest_pause_s, self._pause_s * 2)
        self._closed = False
        self._trial_until_s = None
        self._retry_at_s = now_s + self._pause_s * self._random.uniform(0.5, 1.0)
