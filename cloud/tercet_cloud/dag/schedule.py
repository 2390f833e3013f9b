"""Decides which node of which run starts when. Knows no Ray, no clock, no data: times and outcomes are arguments.

A node is ready the moment its last input is there. Of what is ready, `ready_queue` chooses by priority and age,
within the limits of pools and places, over all runs. A node whose upstream failed does not run; one whose upstream
was skipped is skipped, unless it can do without. Failed tries are repeated with doubling waits; a deadline of the
run bounds every node in it.

Every call costs time in what it changes, not in what there is: a run of n nodes costs about n log n in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tercet.errors import NotFoundError, OverloadedError, SpecError
from tercet_cloud.dag.alarms import Alarm, Alarms
from tercet_cloud.dag.durations import Durations
from tercet_cloud.dag.flights import Flight, Flights
from tercet_cloud.dag.graph import Graph
from tercet_cloud.dag.outcomes import (
    LOOK,
    WHOLE,
    Change,
    Done,
    Failed,
    NodeChanged,
    NodeState,
    Outcome,
    Released,
    RunChanged,
    RunState,
    Skipped,
    TakenBack,
    Task,
)
from tercet_cloud.dag.ready_queue import Entry, Lane, Place, ReadyQueue
from tercet_cloud.dag.retrying import wait_before_retry_s
from tercet_cloud.dag.run_progress import FanOut, Known, RunProgress
from tercet_cloud.dag.run_queue import RunQueue

# Items of one node that are made ready at a time, so that a long list does not fill the queue.
_WINDOW = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """Where back-pressure begins.

    Attributes:
        active_runs: runs under way at once.
        queued_runs: runs that wait; more are refused.
        ready_tasks: no further run begins while so many tasks are ready.
    """

    active_runs: int = 1000
    queued_runs: int = 10_000
    ready_tasks: int = 50_000


class Schedule:
    """See the module.

    Args:
        places: capacity by place, see `ready_queue`.
        limits: where back-pressure begins.
        ageing_s: a task of priority 0 that has waited so long more goes before one of priority 100.
    """

    def __init__(
        self, places: Mapping[str, Place], limits: Limits | None = None, *, ageing_s: float = 60.0
    ) -> None:
        self.limits = limits or Limits()
        self._nominal = {name: (place.cpus, place.gpus) for name, place in places.items()}
        self._ready = ReadyQueue(dict(places), self._is_wanted, ageing_s=ageing_s)
        self._runs: dict[str, RunProgress] = {}
        self._queue = RunQueue(self.limits.active_runs)
        self._alarms = Alarms(self._matters)
        self._flights = Flights(self._alarms)
        self._durations = Durations()
        self._changes: list[Change] = []
        self._stops: list[Task] = []

    # --- what happens

    def submit(
        self,
        run: str,
        graph: Graph,
        now_s: float,
        *,
        priority: int | None = None,
        deadline_s: float | None = None,
        known: Mapping[int, Known] | None = None,
    ) -> None:
        """Take a run on; it starts at once if there is room.

        Args:
            priority: in place of the pipeline's; its nodes' own priorities move by the difference.
            deadline_s: in place of the pipeline's.
            known: what is kept of its nodes from before a crash.
        Raises:
            OverloadedError: as many runs wait as may.
            SpecError: a node needs more than there is.
        """
        self.check(run, graph)
        limit_s = graph.deadline_s if deadline_s is None else deadline_s
        shift = 0 if priority is None else priority - graph.priority
        progress = RunProgress(run, graph, shift, None if limit_s is None else now_s + limit_s, now_s)
        progress.known = known or {}
        self._runs[run] = progress
        self._changes.append(RunChanged(run, RunState.QUEUED, now_s))
        if progress.deadline_s is not None:
            self._alarms.set(progress.deadline_s, Alarm(run))
        self._queue.push(progress)
        self._begin_runs(now_s)

    def check(self, run: str, graph: Graph, besides: int = 0) -> None:
        """Raise what `submit` would, if `besides` so many other runs were submitted before."""
        if run in self._runs:
            raise SpecError(f"there is a run {run} already")
        if besides >= self.room:
            waiting = self._queue.waiting + besides
            raise OverloadedError(f"{waiting} runs wait already, no more are taken", retry_after_s=1.0)
        self._check_demands(graph)

    @property
    def room(self) -> int:
        """How many more runs may wait."""
        return self.limits.queued_runs - self._queue.waiting

    def start(self, now_s: float) -> list[Task]:
        """The tasks that start now, most important first."""
        self._begin_runs(now_s)
        started = []
        for lane, entry in self._ready.take(now_s):
            started.append(entry[4])
            self._take_off(entry[4], lane, entry, now_s)
        return started

    def finish(self, task: Task, outcome: Outcome, now_s: float) -> bool:
        """A try has ended. False, and nothing changes, if it was given up before."""
        flight = self._flights.end(task)
        if flight is None:
            return False
        self._ready.release(flight.lane, flight.priority)
        progress = self._runs[task.run]
        match outcome:
            case Done(length, took_s):
                if task.item != LOOK:
                    target = progress.graph.steps[task.node].target
                    self._durations.learn(target, now_s - flight.started_s if took_s is None else took_s)
                self._succeed(progress, task, length, now_s)
            case Skipped():
                self._end(progress, task.node, NodeState.SKIPPED, now_s, "its condition does not hold")
            case Failed():
                self._fail(progress, task, outcome, now_s)
            case TakenBack():
                self._take_back(progress, task, now_s)
        self._refill(progress, task, now_s)
        return True

    def cancel(self, run: str, now_s: float, node: str | None = None, reason: str = "cancelled") -> None:
        """Give up a run, or one of its nodes and whatever needs it. Nothing happens to what has ended.

        NotFoundError if there is no such run or node.
        """
        progress = self._runs.get(run)
        if progress is None:
            raise NotFoundError(f"there is no run {run} under way")
        if node is None:
            self._give_up(progress, RunState.CANCELLED, NodeState.CANCELLED, now_s, reason)
            return
        number = progress.graph.number_of(node)
        if number is None:
            raise NotFoundError(f"run {run} has no node {node}")
        if progress.state is RunState.QUEUED:
            raise NotFoundError(f"run {run} waits and has not begun: cancel it as a whole")
        if not progress.states[number].ended:
            progress.partial = True
            self._end(progress, number, NodeState.CANCELLED, now_s, reason)

    def fail(self, run: str, now_s: float, reason: str) -> None:
        """End a run as failed that cannot go on, for no fault of its nodes. NotFoundError as `cancel`."""
        progress = self._runs.get(run)
        if progress is None:
            raise NotFoundError(f"there is no run {run} under way")
        self._give_up(progress, RunState.FAILED, NodeState.CANCELLED, now_s, reason)

    def pass_time(self, now_s: float) -> None:
        """Do what is due: repeat tries, find those that may be over their time, end runs at their deadline."""
        while (alarm := self._alarms.pop(now_s)) is not None:
            run, task, again = alarm
            progress = self._runs.get(run)
            if progress is None:
                continue
            if task is None:
                self._give_up(progress, RunState.EXPIRED, NodeState.EXPIRED, now_s, "the run's deadline passed")
            elif again and self._is_wanted(task):
                self._make_ready(progress, task, now_s)
            else:
                self._flights.note_due(task, now_s)

    def look_again(self, task: Task, at_s: float) -> None:
        """A try that `take_overdue` told of has time until then: it began later than it was given out."""
        self._flights.look_again(task, at_s)

    def resize(self, place: str, cpus: float, gpus: float | None = None) -> None:
        """A place has another capacity now: a worker was lost or came back."""
        held = self._ready.places.setdefault(place, Place(0))
        held.cpus = cpus
        if gpus is not None:
            held.gpus = gpus
        nominal = self._nominal.get(place, (0.0, 0.0))
        self._nominal[place] = (max(nominal[0], cpus), max(nominal[1], gpus or 0.0))

    # --- what comes of it

    def take_changes(self) -> list[Change]:
        """The changes since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def take_stops(self) -> list[Task]:
        """Tries that were given up since the last call and may still run somewhere: to be stopped there."""
        stops, self._stops = self._stops, []
        return stops

    def take_overdue(self) -> list[Task]:
        """Tries that were given out as long ago as they may take: whether they ran all that time, workers know.

        Each is told of once: it is to be finished, or `look_again` says when it is to be told of next.
        """
        return self._flights.take_overdue()

    def next_due_s(self) -> float | None:
        """When `pass_time` has something to do next, at the earliest."""
        return self._alarms.next_s()

    def time_left_s(self, task: Task, now_s: float) -> float | None:
        """How long a try may take that begins now; None: for ever."""
        progress = self._runs[task.run]
        limits = [progress.graph.steps[task.node].timeout_s]
        if progress.deadline_s is not None:
            limits.append(progress.deadline_s - now_s)
        return min((limit for limit in limits if limit is not None), default=None)

    def priority_of(self, task: Task) -> int:
        """Of a try that is under way."""
        return self._flights[task].priority

    def is_in_flight(self, task: Task) -> bool:
        return task in self._flights

    def has_begun(self, run: str) -> bool:
        """False for a run that waits in line; True also for one that has ended."""
        progress = self._runs.get(run)
        return progress is None or progress.state is not RunState.QUEUED

    @property
    def runs(self) -> Iterable[str]:
        """Those that have not ended."""
        return self._runs.keys()

    @property
    def in_flight(self) -> Iterable[Task]:
        return self._flights.tasks

    @property
    def waiting(self) -> int:
        """Tasks in the ready queue; some may be of runs that were cancelled meanwhile."""
        return self._ready.waiting

    @property
    def places(self) -> Mapping[str, Place]:
        return self._ready.places

    # --- runs

    def _check_demands(self, graph: Graph) -> None:
        for step in graph.steps:
            if step.place not in self._nominal:
                continue
            cpus, gpus = self._nominal[step.place]
            if step.cpus > cpus or step.gpus > gpus:
                raise SpecError(
                    f"node {step.name} needs {step.cpus:g} CPUs and {step.gpus:g} GPUs, "
                    f"but there are {cpus:g} and {gpus:g}"
                )

    def _begin_runs(self, now_s: float) -> None:
        while self._ready.waiting < self.limits.ready_tasks and (progress := self._queue.pop()):
            self._begin(progress, now_s)

    def _begin(self, progress: RunProgress, now_s: float) -> None:
        progress.begin()
        self._changes.append(RunChanged(progress.id, RunState.RUNNING, now_s))
        for node, known in progress.known.items():
            if known.state.ended and not progress.states[node].ended:
                lacks = known.state is NodeState.CANCELLED or bool(known.failed_items)
                progress.partial = progress.partial or lacks
                self._end(progress, node, known.state, now_s, quietly=True)
        for node, waits in enumerate(progress.waits):
            if waits == 0 and progress.states[node] is NodeState.WAITING:
                self._open(progress, node, now_s)
        if not progress.graph.steps:
            self._end_run(progress, now_s)

    def _give_up(
        self, progress: RunProgress, outcome: RunState, state: NodeState, now_s: float, reason: str
    ) -> None:
        """End a run as `outcome`, and its open nodes as `state`."""
        progress.given_up, progress.reason = outcome, reason
        if progress.state is RunState.QUEUED:
            progress.state = progress.outcome
            self._queue.forget()
            self._changes.append(RunChanged(progress.id, progress.state, now_s, reason))
            del self._runs[progress.id]
            return
        for node, now in enumerate(progress.states):
            if not now.ended:
                self._close(progress, node, state, now_s, reason)
        self._end_run(progress, now_s)

    def _end_run(self, progress: RunProgress, now_s: float) -> None:
        progress.state = progress.outcome
        self._changes.append(RunChanged(progress.id, progress.state, now_s, progress.words, progress.partial))
        del self._runs[progress.id]
        self._queue.ended(progress)

    # --- nodes

    def _open(self, progress: RunProgress, node: int, now_s: float) -> None:
        """All its upstream nodes have ended well: the node becomes ready."""
        step = progress.graph.steps[node]
        known = progress.known.get(node)
        if step.maps and known is not None and known.items is not None:
            self._fan_out(progress, node, known.items, now_s)
        else:
            self._make_ready(progress, Task(progress.id, node, LOOK if step.maps else WHOLE, 1), now_s)

    def _make_ready(self, progress: RunProgress, task: Task, now_s: float) -> None:
        if task.item < 0:
            self._set_state(progress, task.node, NodeState.READY, now_s, attempt=task.attempt)
        step = progress.graph.steps[task.node]
        lane = self._ready.lane_of(step, self._durations.ahead(step.target))
        self._ready.push(lane, task, progress.priority_of(task.node), now_s)

    def _is_wanted(self, task: Task) -> bool:
        progress = self._runs.get(task.run)
        if progress is None or progress.state is not RunState.RUNNING:
            return False
        if progress.states[task.node].ended or progress.attempts.get(task[1:3], 1) != task.attempt:
            return False
        return task.item < 0 or task.node in progress.fans

    def _take_off(self, task: Task, lane: Lane, entry: Entry, now_s: float) -> None:
        progress = self._runs[task.run]
        self._flights.begin(task, Flight(lane, entry[3], now_s, self._look_s(progress, task, now_s)))
        if task.item < 0:
            self._set_state(progress, task.node, NodeState.RUNNING, now_s, attempt=task.attempt)
        else:
            self._changes.append(
                NodeChanged(task.run, task.node, task.item, NodeState.RUNNING, now_s, task.attempt)
            )

    def _look_s(self, progress: RunProgress, task: Task, now_s: float) -> float | None:
        """When a try that begins now may be over its time; the end of the run has an alarm of its own."""
        timeout_s = progress.graph.steps[task.node].timeout_s
        if timeout_s is None or (progress.deadline_s is not None and progress.deadline_s <= now_s + timeout_s):
            return None
        return now_s + timeout_s

    def _matters(self, at_s: float, alarm: Alarm) -> bool:
        run, task, again = alarm
        if task is None:
            return run in self._runs
        if again:
            return self._is_wanted(task)
        return self._flights.waits_for(task, at_s)

    def _succeed(self, progress: RunProgress, task: Task, length: int | None, now_s: float) -> None:
        if task.item == WHOLE:
            self._end(progress, task.node, NodeState.DONE, now_s, attempt=task.attempt)
        elif task.item == LOOK:
            self._fan_out(progress, task.node, length or 0, now_s)
        else:
            self._changes.append(NodeChanged(task.run, task.node, task.item, NodeState.DONE, now_s, task.attempt))
            self._end_item(progress, task.node, now_s)

    def _fail(self, progress: RunProgress, task: Task, failed: Failed, now_s: float) -> None:
        step = progress.graph.steps[task.node]
        key = (task.node, task.item)
        if failed.innocent:
            progress.innocent[key] = progress.innocent.get(key, 0) + 1
        tries = task.attempt - progress.taken_back.get(key, 0)
        wait_s = wait_before_retry_s(step, failed, tries, progress.innocent.get(key, 0))
        reason = f"{failed.trouble}: {failed.reason}"
        if wait_s is not None and (progress.deadline_s is None or now_s + wait_s < progress.deadline_s):
            again = task._replace(attempt=task.attempt + 1)
            progress.attempts[key] = again.attempt
            self._set_state(progress, task.node, NodeState.WAITING, now_s, reason, task.attempt, item=task.item)
            self._alarms.set(now_s + wait_s, Alarm(task.run, again, again=True))
            return
        if task.item < 0:
            self._end(progress, task.node, NodeState.FAILED, now_s, reason, task.attempt)
            return
        fan = progress.fans[task.node]
        fan.failed += 1
        self._changes.append(
            NodeChanged(task.run, task.node, task.item, NodeState.FAILED, now_s, task.attempt, reason)
        )
        if fan.failed > step.may_fail:
            self._end(progress, task.node, NodeState.FAILED, now_s, f"item {task.item}: {reason}", task.attempt)
        else:
            progress.partial = True
            self._end_item(progress, task.node, now_s)

    def _take_back(self, progress: RunProgress, task: Task, now_s: float) -> None:
        key = (task.node, task.item)
        progress.taken_back[key] = progress.taken_back.get(key, 0) + 1
        again = task._replace(attempt=task.attempt + 1)
        progress.attempts[key] = again.attempt
        if task.item >= 0:
            self._set_state(progress, task.node, NodeState.READY, now_s, attempt=task.attempt, item=task.item)
        self._make_ready(progress, again, now_s)

    def _fan_out(self, progress: RunProgress, node: int, count: int, now_s: float) -> None:
        fan = progress.fan_out(node, count)
        self._set_state(progress, node, NodeState.RUNNING, now_s, items=count)
        if fan.failed > progress.graph.steps[node].may_fail:
            self._end(progress, node, NodeState.FAILED, now_s, f"{fan.failed} items failed")
            return
        if fan.left == 0:
            self._end(progress, node, NodeState.DONE, now_s)
            return
        for _ in range(_WINDOW):
            if not self._next_item(progress, node, fan, now_s):
                break

    def _next_item(self, progress: RunProgress, node: int, fan: FanOut, now_s: float) -> bool:
        item = fan.take()
        if item is not None:
            self._make_ready(progress, Task(progress.id, node, item, 1), now_s)
        return item is not None

    def _end_item(self, progress: RunProgress, node: int, now_s: float) -> None:
        fan = progress.fans[node]
        fan.left -= 1
        if fan.left == 0:
            self._end(progress, node, NodeState.DONE, now_s)

    def _refill(self, progress: RunProgress, task: Task, now_s: float) -> None:
        """As one item leaves, the next may come."""
        fan = progress.fans.get(task.node) if task.item >= 0 else None
        if fan is not None and task.run in self._runs:
            self._next_item(progress, task.node, fan, now_s)

    def _end(
        self,
        progress: RunProgress,
        node: int,
        state: NodeState,
        now_s: float,
        reason: str = "",
        attempt: int = 0,
        *,
        quietly: bool = False,
    ) -> None:
        """A node has ended; so may others behind it, and the run."""
        ends = [(node, state, reason)]
        while ends:
            number, state, reason = ends.pop()
            if progress.states[number].ended:
                continue
            self._close(progress, number, state, now_s, reason, attempt, quietly=quietly and number == node)
            attempt = 0
            settled = progress.settle(number)
            self._changes += [Released(progress.id, read) for read in settled.released]
            for after in settled.ready:
                self._open(progress, after, now_s)
            for after, fate in settled.fates:
                skipped = fate is NodeState.SKIPPED
                ends.append((after, fate, f"what it needs was {'skipped' if skipped else 'not there'}"))
        if progress.open_nodes == 0 and progress.id in self._runs:
            self._end_run(progress, now_s)

    def _close(
        self,
        progress: RunProgress,
        node: int,
        state: NodeState,
        now_s: float,
        reason: str,
        attempt: int = 0,
        *,
        quietly: bool = False,
    ) -> None:
        self._stop_flights(progress, node)
        fan = progress.close(node, state)
        if not quietly:
            items, failed = (fan.count, fan.failed) if fan else (None, 0)
            self._changes.append(
                NodeChanged(progress.id, node, WHOLE, state, now_s, attempt, reason, items, failed)
            )

    def _stop_flights(self, progress: RunProgress, node: int) -> None:
        """Give up what runs of a node that ends."""
        if progress.states[node] is not NodeState.RUNNING:
            return
        fan = progress.fans.get(node)
        for item in (WHOLE, LOOK) if fan is None else range(fan.next):
            task = Task(progress.id, node, item, progress.attempts.get((node, item), 1))
            flight = self._flights.end(task)
            if flight is not None:
                self._ready.release(flight.lane, flight.priority)
                self._stops.append(task)

    # --- small things

    def is_short(self, task: Task) -> bool:
        """Whether others may wait for it at a worker, as such nodes took little time of late."""
        return self._durations.is_short(self._runs[task.run].graph.steps[task.node].target)

    def _set_state(
        self,
        progress: RunProgress,
        node: int,
        state: NodeState,
        now_s: float,
        reason: str = "",
        attempt: int = 0,
        *,
        item: int = WHOLE,
        items: int | None = None,
    ) -> None:
        if item < 0:
            item = WHOLE
            progress.states[node] = state
        self._changes.append(NodeChanged(progress.id, node, item, state, now_s, attempt, reason, items))

    def expected_s(self, task: Task) -> float | None:
        """How long such a node took of late."""
        return self._durations.expected_s(self._runs[task.run].graph.steps[task.node].target)
