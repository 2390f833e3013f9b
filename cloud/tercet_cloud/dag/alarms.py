"""What is due when: tries to repeat, tries and runs whose time is over."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from tercet_cloud.dag.outcomes import Task


class Alarm(NamedTuple):
    """`again`: the task is to be tried again; else its time is over, or the run's if there is no task."""

    run: str
    task: Task | None = None
    again: bool = False


class Alarms:
    """In order of time, then as they were set. None is taken back: who is woken looks whether it still matters."""

    def __init__(self) -> None:
        self._line: list[tuple[float, int, Alarm]] = []
        self._order = 0

    def set(self, at_s: float, alarm: Alarm) -> None:
        self._order += 1
        heappush(self._line, (at_s, self._order, alarm))

    def pop(self, now_s: float) -> Alarm | None:
        """The next that is due; None if none is."""
        return heappop(self._line)[2] if self._line and self._line[0][0] <= now_s else None

    def next_s(self) -> float | None:
        """When the next is due; None if there is none."""
        return self._line[0][0] if self._line else None
