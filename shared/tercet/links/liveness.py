"""When a connection counts as dead, and when to ask whether it lives. Pure: time and traffic are arguments.

Any byte from the other side is a sign of life. A ping asks for one when none has come for a second, and when
nothing was sent for as long, so that the broker hears of us too. A connection from which nothing has come for
`SILENT_S` is dead, with two exceptions: while a ping waits behind an upload that gets on, no answer can come yet;
and time in which nobody looked, because this process was busy, is not silence.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

LOOK_EVERY_S = 0.5
PING_EVERY_S = 1.0
SILENT_S = 4.0
# A ping that waited long behind an upload may wait as long again in relays on the way, but not for ever.
MOST_PATIENCE_S = 60.0

Sign = Literal["fine", "ping", "dead"]


@dataclass(frozen=True)
class Traffic:
    """What a connection has carried, as its own end sees it.

    Attributes:
        received: changes with every byte that comes in.
        taken: bytes of ours that the other side's system has acknowledged; only grows.
        outstanding: bytes of ours that it has not.
    """

    received: int
    taken: int
    outstanding: int


class Liveness:
    """Of one connection; times are seconds of any one monotonic clock. After "ping" a ping must be sent."""

    def __init__(self, now_s: float, traffic: Traffic, *, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._looked_s = now_s
        # When bytes last came or went, or a ping was sent.
        self._came_s = self._went_s = now_s
        self._last = traffic
        self._patience_s = SILENT_S
        self._ping_gap_s = self._next_gap_s()
        # While a ping waits behind an upload: since when, and what must be taken for it to be.
        self._waiting: tuple[float, int] | None = None
        self.silent_s = 0.0

    def waited_s(self, now_s: float) -> float:
        """For how long a ping has been waiting behind an upload; 0 if none does."""
        return 0.0 if self._waiting is None else now_s - self._waiting[0]

    def look(self, now_s: float, traffic: Traffic) -> Sign:
        """What to do, after what the connection has carried by now."""
        # A look that comes late says that this process was busy, not that the other side was silent.
        since_s = min(now_s - self._looked_s, 2 * LOOK_EVERY_S)
        heard, getting_on = traffic.received != self._last.received, traffic.taken != self._last.taken
        self._looked_s, self._last = now_s, traffic
        if self._waiting is not None and traffic.taken >= self._waiting[1]:
            self._patience_s = min(max(SILENT_S, self.waited_s(now_s)), MOST_PATIENCE_S)
            self._waiting = None
        if getting_on:
            self._went_s = now_s
        if heard:
            self._came_s, self._patience_s, self.silent_s = now_s, SILENT_S, 0.0
        elif self._waiting is None or not getting_on:
            self.silent_s += since_s
        if self.silent_s >= self._patience_s:
            return "dead"
        return "ping" if self._is_ping_due(now_s, traffic) else "fine"

    def _is_ping_due(self, now_s: float, traffic: Traffic) -> bool:
        # Behind one that waits, another would tell nothing new.
        if self._waiting is not None or now_s - min(self._came_s, self._went_s) < self._ping_gap_s:
            return False
        self._came_s = self._went_s = now_s
        self._ping_gap_s = self._next_gap_s()
        if traffic.outstanding:
            self._waiting = (now_s, traffic.taken + traffic.outstanding)
        return True

    def _next_gap_s(self) -> float:
        # Jitter, so that devices that were started together do not ping together.
        return PING_EVERY_S * self._random.uniform(0.5, 1.0)
