"""Runs pipelines: the schedule decides, workers compute, references carry values; here the three meet.

A plain class for one event loop, around which `actor` is a shell. Whatever happens (a call came back, a run was
submitted, time has passed) ends in one pump: the schedule says what starts and what stops, what changed is
recorded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tercet.errors import NotFoundError
from tercet.printable import printable
from tercet.wall_clock import REAL_CLOCK
from tercet_cloud.dag.call import Call, Circumstances, Means, make_call, source_of
from tercet_cloud.dag.graph import CLOUD, Graph, Step, compile_graph
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
    Task,
    Trouble,
)
from tercet_cloud.dag.pool import Arrival, Dispatch, name_of
from tercet_cloud.dag.pools import Pools
from tercet_cloud.dag.ready_queue import Place
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.run_progress import Known
from tercet_cloud.dag.run_values import RunValues, Stored
from tercet_cloud.dag.run_view import RunView
from tercet_cloud.dag.schedule import Limits, Schedule
from tercet_cloud.dag.spec import Pipeline

log = logging.getLogger(__name__)

# Runs that have ended are remembered so long, or until so many later ones have ended.
_REMEMBERED = 100
_REASON_CHARS = 300


@dataclass(frozen=True)
class Prepared:
    """A pipeline made ready to run, once for all its runs."""

    pipeline: Pipeline
    graph: Graph
    calls: tuple[Call, ...]
    packed: tuple[bytes, ...]

    @classmethod
    def of(cls, pipeline: Pipeline, means: Means) -> Prepared:
        graph = compile_graph(pipeline)
        calls = tuple(make_call(pipeline, step.name, step.place, means) for step in graph.steps)
        return cls(pipeline, graph, calls, tuple(call.packed() for call in calls))


@dataclass(eq=False)
class _Run:
    prepared: Prepared
    values: RunValues
    view: RunView
    durable: bool
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Journal:
    """What an engine tells of its runs; this one forgets it. See `run_journal` for the one that keeps it."""

    def value(self, run: str, source: str, item: int, kept: Any, address: str, size_bytes: int) -> None:
        """A result is there: as bytes behind a reference, or in the folder."""

    def changed(self, run: str, view: RunView, change: NodeChanged | RunChanged) -> None:
        """A node or run is in another state."""

    async def flushed(self) -> None:
        """Returns when everything that was told so far is kept, or has failed its run."""

    def holds(self, run: str) -> bool:
        """Whether a run is kept here, and its end not yet."""
        return False

    def has_room(self) -> bool:
        """False while so much waits to be kept that nothing further may start."""
        return True

    def load(self, run: str, source: str, item: int) -> Any:
        """A reference to a value that was kept."""
        raise NotFoundError(f"run {run} kept no value of {source}")


class Engine:
    """See the module.

    Args:
        workers: how many processes compute.
        gpus: how many GPUs there are.
        values: folder of kept results; None: nothing is kept.
        journal: what keeps runs.
    """

    def __init__(
        self,
        workers: int,
        *,
        gpus: int = 0,
        values: Path | None = None,
        journal: Journal | None = None,
        limits: Limits | None = None,
        ageing_s: float = 60.0,
    ) -> None:
        self._journal = journal or Journal()
        self._keeps = values is not None
        self._ageing = 100.0 / ageing_s
        places = {CLOUD: Place(workers, gpus=gpus, ahead=workers)}
        self._schedule = Schedule(places, limits, ageing_s=ageing_s)
        self._workers, self._gpus = workers, gpus
        self._values = values
        self._runs: dict[str, _Run] = {}
        self._ended: list[str] = []
        self._pump_asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._to_wall_s = REAL_CLOCK.now_us() / 1e6 - time.monotonic()

    async def start(self) -> None:
        """Returns when there is a worker."""
        self._loop = asyncio.get_running_loop()
        self._pools = Pools(
            self._workers,
            self._gpus,
            self._values,
            arrived=self._arrived,
            look_again=self._schedule.look_again,
            resized=self._resized,
        )
        self._schedule.resize(CLOUD, 0)
        await self._pools.start()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pools.close()

    # --- runs

    @property
    def room(self) -> int:
        """How many more runs are taken on."""
        return self._schedule.room

    def check(self, run: str, prepared: Prepared, besides: int = 0) -> None:
        """Raise what `submit` would, if `besides` so many others were submitted before."""
        self._schedule.check(run, prepared.graph, besides)

    def submit(
        self,
        run: str,
        prepared: Prepared,
        inputs: Mapping[str, Any],
        *,
        priority: int | None = None,
        deadline_s: float | None = None,
        known: Mapping[int, Known] | None = None,
        record: RunRecord | None = None,
    ) -> None:
        """Take a run on.

        Args:
            inputs: references by name.
            known, record: what is kept of the run from before a crash.
        Raises:
            OverloadedError, SpecError: see `Schedule.submit`.
        """
        now_s = time.monotonic()
        view = RunView(run, prepared.graph, now_s + self._to_wall_s, record)
        durable = self._keeps and prepared.pipeline.durable
        held = _Run(prepared, RunValues(partial(self._journal.load, run)), view, durable)
        for name in prepared.pipeline.inputs:
            source = f"input.{name}"
            held.values.held[source] = Stored(source, WHOLE) if record is not None else inputs[name]
        for number, one in (known or {}).items():
            _restore(held.values, prepared.graph.steps[number].name, one)
        self._schedule.submit(run, prepared.graph, now_s, priority=priority, deadline_s=deadline_s, known=known)
        self._runs[run] = held
        self._ask_pump()

    def cancel(self, run: str, node: str | None = None, reason: str = "cancelled") -> None:
        """NotFoundError if it is not under way."""
        self._schedule.cancel(run, time.monotonic(), node, reason)
        self._ask_pump()

    def fail(self, run: str, reason: str) -> None:
        """End a run that cannot go on or, of one that has ended, say that it came to nothing. NotFoundError."""
        now_s = time.monotonic()
        try:
            self._schedule.fail(run, now_s, reason)
            self._ask_pump()
        except NotFoundError:
            self._find(run).view.apply(RunChanged(run, RunState.FAILED, now_s, reason), self._to_wall_s)

    def has_begun(self, run: str) -> bool:
        """False for a run that waits in line."""
        return self._schedule.has_begun(run)

    def wake(self) -> None:
        """The journal has room again."""
        self._ask_pump()

    async def wait(self, run: str, timeout_s: float | None = None) -> RunRecord:
        """The run's record once it has ended and is kept, or as it is after `timeout_s`. NotFoundError."""
        held = self._find(run)
        try:
            async with asyncio.timeout(timeout_s):
                await held.ended.wait()
        except TimeoutError:
            return held.view.record()
        if held.durable:
            await self._journal.flushed()
        return held.view.record()

    async def watch(self, run: str, version: int, timeout_s: float) -> tuple[int, RunRecord]:
        """The record once it is newer than `version`, or after `timeout_s`."""
        held = self._find(run)
        await held.view.newer(version, timeout_s)
        return held.view.version, held.view.record()

    def results(self, run: str, *, events: bool = False) -> dict[str, tuple[Any, tuple[str | int, ...]]]:
        """References of what a run gives, by name, with the way into each value; what is not there is left out.

        Args:
            events: what its events hold, by key, in place of its outputs.
        """
        held = self._find(run)
        pipeline = held.prepared.pipeline
        found = {}
        for name, reference in (pipeline.told() if events else pipeline.results()).items():
            result = held.values.result(source_of(reference))
            if result is not None:
                found[name] = (result, reference.inside)
        return found

    def forget(self, run: str) -> None:
        """Let go of a run that has ended."""
        held = self._runs.get(run)
        if held is not None and held.ended.is_set():
            del self._runs[run]

    def view_of(self, run: str) -> RunView | None:
        """What there is to see of a run; another one each time that it is taken on. None: it is not here."""
        held = self._runs.get(run)
        return None if held is None else held.view

    def _find(self, run: str) -> _Run:
        held = self._runs.get(run)
        if held is None:
            raise NotFoundError(f"there is no run {run} here")
        return held

    # --- what happens

    def _arrived(self, arrival: Arrival) -> None:
        task = arrival.task
        held = self._runs.get(task.run)
        outcome = _outcome(arrival)
        now_s = time.monotonic()
        if held is not None and isinstance(outcome, Done) and task.item != LOOK:
            self._keep(held, arrival)
        if held is not None and arrival.report is not None:
            held.view.tell(task, arrival.report.took_s, arrival.report.log)
        self._schedule.finish(task, outcome, now_s)
        self._ask_pump()

    def _keep(self, held: _Run, arrival: Arrival) -> None:
        task, report = arrival.task, arrival.report
        assert report is not None
        if not self._schedule.is_in_flight(task):
            return
        name = held.prepared.graph.steps[task.node].name
        held.values.put(name, task.item, arrival.landing.value, report.length)
        if held.durable:
            self._journal.value(task.run, name, task.item, arrival.landing.kept, report.kept, report.kept_bytes)

    def _resized(self, usable: int) -> None:
        self._schedule.resize(CLOUD, min(usable, self._workers))
        self._ask_pump()

    def _ask_pump(self) -> None:
        """One pump for everything that happened in this turn of the loop."""
        if not self._pump_asked:
            self._pump_asked = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_asked = False
        now_s = time.monotonic()
        self._schedule.pass_time(now_s)
        for task in self._schedule.take_overdue():
            self._pools.check(task)
        # What must end is ended first: it may cost a worker, which is then not there for what starts. And lists are
        # gathered before what reads them starts.
        self._stop_given_up()
        self._take_changes()
        while self._journal.has_room() and (started := self._schedule.start(now_s)):
            calls = [call for task in started if (call := self._call(task, now_s)) is not None]
            self._pools.send(
                [
                    (call, self._step(call.task), self._schedule.expected_s(call.task))
                    for call in calls
                    if self._schedule.is_in_flight(call.task)
                ]
            )
            self._stop_given_up()
            self._take_changes()
        self._take_changes()
        self._set_timer(now_s)

    def _stop_given_up(self) -> None:
        for task in self._schedule.take_stops():
            self._pools.stop(task)

    def _step(self, task: Task) -> Step:
        return self._runs[task.run].prepared.graph.steps[task.node]

    def _call(self, task: Task, now_s: float) -> Dispatch | None:
        """The call of a task that starts; None if it needs no worker, or ended with one that started before it."""
        if not self._schedule.is_in_flight(task):
            return None
        held = self._runs[task.run]
        call = held.prepared.calls[task.node]
        if task.item == LOOK and (length := held.values.known_length(call)) is not None:
            self._schedule.finish(task, Done(length), now_s)
            return None
        try:
            counts, values = held.values.of_task(call, task.item)
        except Exception as error:
            log.exception("inputs of a node are not there", extra={"run": task.run, "node": call.node})
            self._schedule.finish(
                task, Failed(Trouble.ERROR, printable(str(error), _REASON_CHARS), may_retry=False), now_s
            )
            return None
        rank = now_s * self._ageing - self._schedule.priority_of(task)
        time_left_s = self._schedule.time_left_s(task, now_s)
        circumstances = Circumstances(task.run, task.item, task.attempt, counts, rank, time_left_s, name_of(task))
        return Dispatch(
            task,
            held.prepared.packed[task.node],
            circumstances,
            values,
            keeps=held.durable and task.item != LOOK,
            timeout_s=self._step(task).timeout_s,
            short=task.item == LOOK or self._schedule.is_short(task),
        )

    def _set_timer(self, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = self._schedule.next_due_s()
        if due_s is not None:
            self._timer = self._loop.call_later(max(0.0, due_s - now_s), self._pump)

    # --- what comes of it

    def _take_changes(self) -> None:
        for change in self._schedule.take_changes():
            held = self._runs.get(change.run)
            if held is not None:
                self._apply(held, change)

    def _apply(self, held: _Run, change: Change) -> None:
        if isinstance(change, Released):
            held.values.release(held.prepared.graph.steps[change.node].name)
            return
        if isinstance(change, NodeChanged) and change.state is NodeState.DONE and change.item == WHOLE:
            step = held.prepared.graph.steps[change.node]
            if step.maps:
                held.values.gathered(step.name)
        held.view.apply(change, self._to_wall_s)
        if held.durable:
            self._journal.changed(change.run, held.view, change)
        if isinstance(change, RunChanged) and change.state.ended:
            self._end(change.run, held)

    def _end(self, run: str, held: _Run) -> None:
        kept = held.prepared.pipeline.kept()
        for source in list(held.values.held):
            if source not in kept and not source.startswith("input."):
                held.values.release(source)
        held.ended.set()
        self._pools.forget(run)
        self._ended.append(run)
        while len(self._ended) > _REMEMBERED:
            self.forget(self._ended.pop(0))


def _restore(values: RunValues, name: str, known: Known) -> None:
    """Values of a node that ended before a crash, to be loaded when they are wanted."""
    if known.items is None:
        if known.state is NodeState.DONE:
            values.held[name] = Stored(name, WHOLE)
        return
    for item in sorted(known.done_items):
        values.put(name, item, Stored(name, item), None)
    if known.state is NodeState.DONE:
        values.gathered(name)


def _outcome(arrival: Arrival) -> Outcome:
    if arrival.instead is not None:
        return arrival.instead
    report = arrival.report
    assert report is not None
    if report.state == "done":
        return Done(report.length if arrival.task.item == LOOK else None, report.took_s)
    if report.state == "skipped":
        return Skipped()
    return Failed(Trouble(report.trouble), report.reason, report.may_retry)
