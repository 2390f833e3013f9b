"""The scheduler as a Ray actor: a shell around `Engine` and, for runs that outlive it, its journal.

It may be killed at any time. Ray starts it anew, and it goes on with the unfinished runs of its store; so does any
other scheduler of that store, once the leases of the dead one are over.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from tercet.errors import NotFoundError, OverloadedError, SpecError, TercetError
from tercet.printable import printable
from tercet.wall_clock import REAL_CLOCK
from tercet_cloud.dag.call import Means
from tercet_cloud.dag.engine import Engine, Journal, Prepared
from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.run_journal import RunJournal
from tercet_cloud.dag.run_keeper import new_keeper
from tercet_cloud.dag.run_lease import BEAT_S, LEASE_S, Lease, LeaseWatch
from tercet_cloud.dag.run_reading import Unfinished
from tercet_cloud.dag.run_store import ALL
from tercet_cloud.dag.schedule import Limits
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.error_lines import last_line

log = logging.getLogger(__name__)

# Calls that wait for a run to end, and watchers, are under way all at once: two for each run that may be taken on,
# and some.
CONCURRENT_CALLS = 25_000
# Pipelines that are kept ready; one that was not used for longest is to be prepared again.
_PREPARED = 1000
# Between tries to start, doubling.
_RESTART_FIRST_S, _RESTART_MOST_S = 0.5, 30.0
_REASON_CHARS = 300


@dataclass(frozen=True)
class Setup:
    """What a scheduler is told.

    Attributes:
        workers: processes that compute.
        gpus: GPUs of the cluster.
        means: what model nodes need.
        database, folder: of durable runs; None: none are kept.
        adopts: whether it goes on with unfinished runs that nobody works on.
        import_paths: folders that workers import functions from; noted for whoever goes on with a run elsewhere.
        ageing_s: see `ready_queue`.
    """

    workers: int
    means: Means
    database: str | None = None
    folder: Path | None = None
    adopts: bool = True
    limits: Limits | None = None
    ageing_s: float = 60.0
    gpus: int = 0
    import_paths: tuple[str, ...] = ()


class SchedulerActor:
    """The actor's methods. Errors of ours cross as they are: they are pickled by their arguments.

    It starts by itself, in the loop that it is made in: one that Ray starts anew goes on though nobody calls it.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._owner = f"scheduler-{secrets.token_hex(6)}"
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        # Runs that were let in and are being written: they have their room already.
        self._entering: set[str] = set()
        self._starting: asyncio.Task[None] | None = None
        self._start_trying = asyncio.get_running_loop().create_task(self._start_by_itself())

    async def ready(self) -> int:
        """Returns how many workers there are, once there is one."""
        await self._started()
        return self._setup.workers

    async def prepare(self, key: str, pipeline: Pipeline) -> None:
        """Make a pipeline ready for many runs; `key` names it from then on, until many others were used since."""
        if key not in self._prepared:
            self._prepared[key] = Prepared.of(pipeline, self._setup.means)
            if len(self._prepared) > _PREPARED:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)

    async def submit(
        self,
        run: str,
        key: str,
        names: tuple[str, ...],
        *inputs: Any,
        submission: str = "",
        priority: int | None = None,
        deadline_s: float | None = None,
        keep_inputs: bool = False,
    ) -> None:
        """Take a run of a prepared pipeline on. Returns once it outlives a crash, if it is durable.

        Args:
            names, inputs: its inputs; each value stands in a list of its own, so that it stays a reference.
            submission: the same whenever it is submitted again because no answer came: it is then taken on once.
            keep_inputs: who submits may leave: inputs are copied, as references end with their owner.
        Raises:
            OverloadedError, SpecError: it is refused, and nothing is kept of it.
        """
        await self._started()
        prepared = self._prepared.get(key)
        if prepared is None:
            raise NotFoundError("the pipeline was not prepared here: call `prepare` first")
        self._prepared.move_to_end(key)
        held = {name: value[0] for name, value in zip(names, inputs, strict=True)}
        if keep_inputs:
            held = {name: ray.put(await reference) for name, reference in held.items()}
        if missing := set(prepared.pipeline.inputs) - set(held):
            raise SpecError(f"pipeline {prepared.pipeline.name} needs the inputs {', '.join(sorted(missing))}")
        if run in self._entering:
            raise SpecError(f"there is a run {run} already")
        here = self._journal.holds(run)
        if not here:
            self._engine.check(run, prepared, besides=len(self._entering))
        if isinstance(self._journal, RunJournal) and prepared.pipeline.durable:
            row = {
                "run": run,
                "pipeline": prepared.pipeline.name,
                "spec": prepared.pipeline.model_dump_json(),
                "state": RunState.QUEUED.value,
                "submitted_s": _now_s(),
                "submission": submission,
                "priority": priority,
                "deadline_at_s": _deadline_at(prepared.pipeline, deadline_s),
                "import_paths": json.dumps(self._setup.import_paths),
            }
            self._entering.add(run)
            try:
                if not await self._journal.add(row, held) or here:
                    return
            finally:
                self._entering.discard(run)
        try:
            self._engine.submit(run, prepared, held, priority=priority, deadline_s=deadline_s)
        except TercetError as error:
            if isinstance(self._journal, RunJournal) and prepared.pipeline.durable:
                await self._journal.end(run, str(error))
            raise

    async def wait(self, run: str, timeout_s: float | None = None) -> RunRecord:
        """The run's record when it has ended, and is written if it is durable."""
        await self._started()
        return await self._engine.wait(run, timeout_s)

    async def run(
        self, run: str, key: str, names: tuple[str, ...], *inputs: Any, **order: Any
    ) -> tuple[RunRecord, dict[str, tuple[Any, tuple[str | int, ...]]]]:
        """`submit`, `wait`, the results of events of a run that is done, and `forget`, for many short runs."""
        await self.submit(run, key, names, *inputs, **order)
        record = await self.wait(run)
        events = await self.results(run, events=True) if record.state is RunState.DONE else {}
        await self.forget(run)
        return record, events

    async def watch(self, run: str, version: int, timeout_s: float) -> tuple[int, RunRecord]:
        await self._started()
        return await self._engine.watch(run, version, timeout_s)

    async def results(self, run: str, *, events: bool = False) -> dict[str, tuple[Any, tuple[str | int, ...]]]:
        """References of the run's outputs, or of what its events hold; see `Engine.results`."""
        await self._started()
        return self._engine.results(run, events=events)

    async def forget(self, run: str) -> None:
        await self._started()
        self._engine.forget(run)

    async def cancel(self, run: str, node: str | None = None) -> None:
        await self._started()
        self._engine.cancel(run, node)

    async def resume(self, run: str) -> None:
        """Go on with a run of the store that nobody works on.

        Nothing is to be done if this scheduler works on it already, or takes it over meanwhile by itself.

        Raises:
            OverloadedError: no more runs are taken on.
            SpecError: somebody else works on it, or it has ended.
        """
        await self._started()
        if not isinstance(self._journal, RunJournal):
            raise SpecError("this scheduler keeps no runs")
        before = self._engine.view_of(run)
        if before is not None and not before.state.ended:
            return
        watch = LeaseWatch()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 2 * LEASE_S
        while not self._journal.holds(run):
            if self._engine.view_of(run) is not before:
                # It was taken over, and has ended since.
                return
            if self._room() <= 0:
                raise OverloadedError("as many runs wait as may, no more are taken", retry_after_s=1.0)
            for unfinished in await self._claim(watch, run):
                await self._adopt(unfinished)
                return
            if loop.time() > until_s:
                raise SpecError(f"run {run} is under way elsewhere, or has ended")
            await asyncio.sleep(BEAT_S)

    async def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    async def stop(self) -> None:
        """Write what is left and end the workers."""
        self._start_trying.cancel()
        await self._started()
        if isinstance(self._journal, RunJournal):
            await self._journal.close()
        self._engine.close()

    async def _start_by_itself(self) -> None:
        wait_s = _RESTART_FIRST_S
        while True:
            try:
                await self._started()
                return
            except Exception as error:
                log.warning("the scheduler did not start", extra={"reason": last_line(error)})
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _RESTART_MOST_S)

    async def _started(self) -> None:
        """Returns once it has started; a start that failed is tried again by the next who asks."""
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        setup = self._setup
        self._journal: Journal = Journal()
        if setup.database is not None and setup.folder is not None:
            self._keeper = new_keeper(setup.database, setup.folder, self._owner)
            self._journal = RunJournal(
                self._keeper,
                lost=self._let_go,
                failed=self._fail,
                cancelled=self._give_up,
                drained=lambda: self._engine.wake(),
            )
        self._engine = Engine(
            setup.workers,
            gpus=setup.gpus,
            values=setup.folder if setup.database is not None else None,
            journal=self._journal,
            limits=setup.limits,
            ageing_s=setup.ageing_s,
        )
        try:
            await self._engine.start()
        except BaseException:
            self._engine.close()
            raise
        if isinstance(self._journal, RunJournal):
            self._journal.start()
            if setup.adopts:
                self._adopting = asyncio.create_task(self._adopt_runs())

    async def _adopt_runs(self) -> None:
        watch = LeaseWatch()
        while True:
            try:
                for unfinished in await self._claim(watch, None):
                    with suppress(TercetError):
                        await self._adopt(unfinished)
            except Exception as error:
                log.warning("unfinished runs could not be looked for", extra={"reason": last_line(error)})
            await asyncio.sleep(BEAT_S)

    async def _claim(self, watch: LeaseWatch, run: str | None) -> list[Unfinished]:
        """Take over what nobody works on, as far as there is room."""
        assert isinstance(self._journal, RunJournal)
        leases: list[Lease] = await self._keeper.leases.remote(run)
        others = [
            lease for lease in leases if not self._journal.holds(lease.run) and lease.run not in self._entering
        ]
        free = watch.free(others, asyncio.get_running_loop().time())[: max(0, self._room())]
        return list(await self._keeper.claim.remote(free)) if free else []

    def _room(self) -> int:
        return self._engine.room - len(self._entering)

    async def _adopt(self, unfinished: Unfinished) -> None:
        """Go on with a run that was taken over. One that cannot go on has failed: SpecError, with the reason."""
        pipeline, record = unfinished.pipeline, unfinished.record
        assert isinstance(self._journal, RunJournal)
        deadline_at_s = unfinished.deadline_at_s
        if deadline_at_s is None:
            # It was opened again: its time begins now, and only once.
            deadline_at_s = _deadline_at(pipeline, None)
        self._journal.adopt(record.run, deadline_at_s)
        try:
            self._engine.submit(
                record.run,
                Prepared.of(pipeline, self._setup.means),
                {},
                priority=unfinished.priority,
                deadline_s=None if deadline_at_s is None else max(0.001, deadline_at_s - _now_s()),
                known=unfinished.known,
                record=record,
            )
        except Exception as error:
            reason = printable(str(error), _REASON_CHARS)
            await self._journal.end(record.run, reason)
            raise SpecError(f"run {record.run} cannot go on: {reason}") from error

    def _let_go(self, run: str) -> None:
        log.warning("another scheduler has taken a run over", extra={"run": run})
        self._cancel(run, None, "another scheduler has taken it over")

    def _fail(self, run: str, reason: str) -> None:
        try:
            self._engine.fail(run, reason)
        except NotFoundError:
            log.info("a run that cannot be kept is not known any more", extra={"run": run})

    def _give_up(self, run: str, node: str) -> bool:
        """As somebody asked; False while a run waits of which only a node is to be given up."""
        if node != ALL and not self._engine.has_begun(run):
            return False
        self._cancel(run, None if node == ALL else node, "cancelled")
        return True

    def _cancel(self, run: str, node: str | None, reason: str) -> None:
        try:
            self._engine.cancel(run, node, reason)
        except NotFoundError:
            log.info("a run to be given up has ended", extra={"run": run})


def _deadline_at(pipeline: Pipeline, deadline_s: float | None) -> float | None:
    limit_s = pipeline.deadline_s if deadline_s is None else deadline_s
    return None if limit_s is None else _now_s() + limit_s


def _now_s() -> float:
    """By the wall clock, which alone goes on while nobody runs."""
    return REAL_CLOCK.now_us() / 1e6


def new_scheduler(setup: Setup, *, name: str | None = None, detached: bool = False) -> Any:
    """A handle to a new scheduler.

    Args:
        name: by which others on the cluster find it; if there is one of that name, it is that one.
        detached: it outlives this process.
    """
    # Calls are repeated at the actor that takes a dead one's place; what they ask for may then not be there.
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_concurrency": CONCURRENT_CALLS,
        "max_restarts": 1000,
        "max_task_retries": 10,
    }
    if name is not None:
        # Two that look for it at once and find none get the same one.
        options.update(name=name, get_if_exists=True)
    if detached:
        options["lifetime"] = "detached"
    return ray.remote(SchedulerActor).options(**options).remote(setup)
