"""Who runs next in one worker: of the calls that wait there, the one of the smallest rank."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heappop, heappush


class Baton:
    """Only who holds it runs. Calls that arrive while it is held wait, and may be dropped while they do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, str]] = []
        self._dropped: set[str] = set()
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
                    self._changed.notify_all()

    def drop(self, name: str) -> str:
        """Give up a call: `running` if it is too late, `dropped` if it will not run, now or when it arrives."""
        with self._changed:
            if self._holder == name:
                return "running"
            self._dropped.add(name)
            self._changed.notify_all()
            return "dropped"

    def _take(self, name: str, rank: float) -> bool:
        with self._changed:
            if self._holder is None and not self._waiting and name not in self._dropped:
                self._holder = name
                return True
            self._order += 1
            heappush(self._waiting, (rank, self._order, name))
            while True:
                if name in self._dropped:
                    self._dropped.discard(name)
                    self._waiting = [entry for entry in self._waiting if entry[2] != name]
                    self._waiting.sort()
                    self._changed.notify_all()
                    return False
                if self._holder is None and self._waiting[0][2] == name:
                    heappop(self._waiting)
                    self._holder = name
                    return True
                # Whoever holds the baton notifies; the bound only limits the harm of a mistake.
                self._changed.wait(1.0)
