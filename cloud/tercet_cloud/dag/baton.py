"""Who runs next in one worker: of the calls that wait there, the one of the smallest rank. And how far each is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from tercet_cloud.dag.call import DROPPED

RUNNING, ENDED = "running", "ended"
# Calls that ended are remembered until so many others have: long after their reports have arrived.
_REMEMBERED = 1024


class Standing(NamedTuple):
    """What there is to say of a call that was to be dropped.

    Attributes:
        state: `running`, `ended` (its report is on its way, or waits for the others of its message), or `dropped`:
            it will not run, now or when it arrives.
        ran_s: since it began, while it runs.
    """

    state: str
    ran_s: float = 0.0


class Baton:
    """Only who holds it runs. Calls that arrive while it is held wait, and may be dropped while they do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, str]] = []
        self._dropped: set[str] = set()
        self._began_s: dict[str, float] = {}
        self._ended: dict[str, None] = {}
        self._order = 0
        self._holder: str | None = None

    @contextmanager
    def held(self, name: str, rank: float) -> Iterator[bool]:
        """Entered when it is the call's turn; False if it was dropped meanwhile: then it must not run."""
        taken = self._take(name, rank)
        try:
            yield taken
        finally:
            if taken:
                with self._changed:
                    self._holder = None
                    self._end(name)
                    self._changed.notify_all()

    @contextmanager
    def aside(self, name: str) -> Iterator[bool]:
        """For a call that computes nothing here: entered at once, beside others. False if it was dropped before."""
        with self._changed:
            taken = name not in self._dropped
            self._dropped.discard(name)
            if taken:
                self._began_s[name] = time.monotonic()
        try:
            yield taken
        finally:
            if taken:
                with self._changed:
                    self._end(name)

    def drop(self, name: str) -> Standing:
        """Give up a call that has not begun."""
        with self._changed:
            if (began_s := self._began_s.get(name)) is not None:
                return Standing(RUNNING, time.monotonic() - began_s)
            if name in self._ended:
                return Standing(ENDED)
            self._dropped.add(name)
            self._changed.notify_all()
            return Standing(DROPPED)

    def _take(self, name: str, rank: float) -> bool:
        with self._changed:
            if self._holder is None and not self._waiting and name not in self._dropped:
                self._begin(name)
                return True
            self._order += 1
            heappush(self._waiting, (rank, self._order, name))
            while True:
                if name in self._dropped:
                    self._dropped.discard(name)
                    self._waiting = [entry for entry in self._waiting if entry[2] != name]
                    heapify(self._waiting)
                    self._changed.notify_all()
                    return False
                if self._holder is None and self._waiting[0][2] == name:
                    heappop(self._waiting)
                    self._begin(name)
                    return True
                # Whoever holds the baton notifies; the bound only limits the harm of a mistake.
                self._changed.wait(1.0)

    def _begin(self, name: str) -> None:
        self._holder = name
        self._began_s[name] = time.monotonic()

    def _end(self, name: str) -> None:
        del self._began_s[name]
        self._ended[name] = None
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
