"""Tries that are under way: what they hold, since when, and when to look whether their time is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tercet_cloud.dag.alarms import Alarm, Alarms
from tercet_cloud.dag.outcomes import Task
from tercet_cloud.dag.ready_queue import Lane


@dataclass(slots=True)
class Flight:
    """One try. `look_s`: when to look whether its time is over; None: never."""

    lane: Lane
    priority: int
    started_s: float
    look_s: float | None = None


class Flights:
    """See the module. `alarms` wakes whoever has to look."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._flights: dict[Task, Flight] = {}
        self._overdue: list[Task] = []

    def __contains__(self, task: Task) -> bool:
        return task in self._flights

    def __getitem__(self, task: Task) -> Flight:
        return self._flights[task]

    @property
    def tasks(self) -> Iterable[Task]:
        return self._flights.keys()

    def begin(self, task: Task, flight: Flight) -> None:
        self._flights[task] = flight
        if flight.look_s is not None:
            self._alarms.set(flight.look_s, Alarm(task.run, task))

    def end(self, task: Task) -> Flight | None:
        """None: it was not under way, or is not any more."""
        return self._flights.pop(task, None)

    def look_again(self, task: Task, at_s: float) -> None:
        """A try that `take_overdue` told of has time until then."""
        if (flight := self._flights.get(task)) is not None:
            flight.look_s = at_s
            self._alarms.set(at_s, Alarm(task.run, task))

    def note_due(self, task: Task, now_s: float) -> None:
        """An alarm came: `take_overdue` tells of the try, unless another alarm has replaced this one."""
        flight = self._flights.get(task)
        if flight is not None and flight.look_s is not None and flight.look_s <= now_s:
            flight.look_s = None
            self._overdue.append(task)

    def waits_for(self, task: Task, at_s: float) -> bool:
        """Whether an alarm at this moment still matters."""
        flight = self._flights.get(task)
        return flight is not None and flight.look_s == at_s

    def take_overdue(self) -> list[Task]:
        """Tries that were noted since the last call."""
        overdue, self._overdue = self._overdue, []
        return overdue
