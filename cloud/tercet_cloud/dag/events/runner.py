"""Runs pipelines when keys change: a bus in, rules between, a scheduler out. For one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tercet.errors import OverloadedError, TercetError
from tercet_cloud.dag.events.bus import Event, EventBus, Listener
from tercet_cloud.dag.events.rules import Rules, RuleTable, Trigger
from tercet_cloud.dag.input_values import check_inputs
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.session import Ended
from tercet_cloud.dag.spec import Pipeline

log = logging.getLogger(__name__)

# Runs that rules have begun and that have not ended; beyond, changes wait in the bus's queue.
MOST_RUNS = 256


class Runs(Protocol):
    """What of a `PipelineSession` is needed."""

    async def run(
        self, pipeline: Pipeline, inputs: Mapping[str, object] | None = None, *, priority: int | None = None
    ) -> Ended: ...


@dataclass(frozen=True)
class Reaction:
    """A change that was acted on. `error`: why there is no `run`, or its events could not be told."""

    event: Event
    rule: str
    run: RunRecord | None
    error: TercetError | None
    latency_s: float


class EventRunner:
    """See the module; `async with runner.running():`.

    Args:
        pipelines: those that the rules name, by the path there.
        reacted: called after every run.
        tell: told what the events of a run that is done hold, by key.
    """

    def __init__(
        self,
        runs: Runs,
        bus: EventBus,
        rules: Rules,
        pipelines: Mapping[Path, Pipeline],
        reacted: Callable[[Reaction], None] | None = None,
        tell: Callable[[Mapping[str, Any]], Awaitable[None]] | None = None,
    ) -> None:
        self._runs, self._bus, self._pipelines = runs, bus, pipelines
        self._table = RuleTable(rules)
        self._reacted, self._tell = reacted, tell
        self._room = asyncio.Semaphore(MOST_RUNS)
        self.reactions = self.failures = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """React while entered; runs under way are waited for on leaving, unless cancelled."""
        listener = self._bus.listen()
        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(self._listen(listener, group))
                try:
                    yield
                finally:
                    task.cancel()
        finally:
            self._bus.leave(listener)

    async def _listen(self, listener: Listener, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = self._table.next_due_s()
            triggers: list[Trigger] = []
            try:
                async with asyncio.timeout_at(due_s):
                    event = await listener.next()
                triggers = self._table.changed(event, loop.time())
            except TimeoutError:
                pass
            for trigger in [*triggers, *self._table.pass_time(loop.time())]:
                await self._room.acquire()
                group.create_task(self._react(trigger))

    async def _react(self, trigger: Trigger) -> None:
        loop = asyncio.get_running_loop()
        record, failure = None, None
        try:
            pipeline = self._pipelines[trigger.rule.pipeline]
            inputs = trigger.rule.inputs_of(trigger.event)
            check_inputs(pipeline, inputs)
            record, events = await self._begin(pipeline, inputs, trigger.rule.priority)
            self.reactions += 1
            if events and self._tell is not None:
                await self._tell(events)
        except TercetError as error:
            failure = error
            self.failures += 1
            log.warning("a rule could not act", extra={"key": trigger.event.key, "reason": str(error)})
        finally:
            self._room.release()
        if self._reacted is not None:
            latency_s = loop.time() - trigger.event.at_s
            self._reacted(Reaction(trigger.event, trigger.rule.key, record, failure, latency_s))

    async def _begin(self, pipeline: Pipeline, inputs: Mapping[str, object], priority: int | None) -> Ended:
        while True:
            try:
                return await self._runs.run(pipeline, inputs, priority=priority)
            except OverloadedError as error:
                await asyncio.sleep(error.retry_after_s or 1.0)
