"""What is due when: tries to repeat, tries and runs whose time is over."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from tercet_cloud.dag.outcomes import Task

# Fewer alarms than this are not looked through.
_FEW = 1024


class Alarm(NamedTuple):
    """`again`: the task is to be tried again; else its time is over, or the run's if there is no task."""

    run: str
    task: Task | None = None
    again: bool = False


class Alarms:
    """In order of time, then as they were set.

    None is taken back: who is woken looks whether it still matters. Those that do not are thrown away whenever
    there are twice as many alarms as mattered the last time, so that they are never most of them.

    Args:
        matters: whether an alarm, set for that time, still does.
    """

    def __init__(self, matters: Callable[[float, Alarm], bool]) -> None:
        self._matters = matters
        self._line: list[tuple[float, int, Alarm]] = []
        self._order = 0
        self._most = _FEW

    def __len__(self) -> int:
        return len(self._line)

    def set(self, at_s: float, alarm: Alarm) -> None:
        self._order += 1
        heappush(self._line, (at_s, self._order, alarm))
        if len(self._line) > self._most:
            self._line = [entry for entry in self._line if self._matters(entry[0], entry[2])]
            heapify(self._line)
            self._most = max(_FEW, 2 * len(self._line))

    def pop(self, now_s: float) -> Alarm | None:
        """The next that is due; None if none is."""
        return heappop(self._line)[2] if self._line and self._line[0][0] <= now_s else None

    def next_s(self) -> float | None:
        """When the next is due; None if there is none."""
        return self._line[0][0] if self._line else None
