"""The workers of one scheduler: which gets which call, and what happens when one dies or hangs.

A worker that died is replaced. Whether it was killed or a call took it down nobody knows: a call that was alone on
it is tried once more, and blamed if the next worker dies as well; of several, each is tried again alone. No call is
blamed when the Ray of this machine dies, which takes all workers along. Calls to
be stopped are dropped if they still wait, else their worker is killed, which takes nothing along but calls that
will be tried again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from tercet.printable import printable
from tercet_cloud.dag.call import DROPPED, Circumstances, Report
from tercet_cloud.dag.outcomes import Failed, Task, Trouble
from tercet_cloud.dag.worker import THREADS, new_worker
from tercet_cloud.error_lines import last_line

log = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
_DROP_TIMEOUT_S = 1.0
# Deaths of a worker that a call is not blamed for.
_EXCUSED_DEATHS = 1
_RESTART_FIRST_S, _RESTART_MOST_S = 0.5, 30.0
_REASON_CHARS = 300


@dataclass(eq=False, slots=True)
class _Slot:
    """One worker. `calls` are under way there, in order of dispatch; `alone`: nothing may be put beside them."""

    handle: Any
    calls: dict[Task, Landing] = field(default_factory=dict)
    alone: bool = False
    usable: bool = False


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A call to be given to a worker; `values` are the references that go along."""

    task: Task
    packed: bytes
    circumstances: Circumstances
    values: tuple[Any, ...]
    keeps: bool


@dataclass(frozen=True, slots=True)
class Landing:
    """What comes back of a call beside its report: references to its value and to its kept bytes."""

    value: Any
    kept: Any | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came back of a call: its report, or why there is none."""

    task: Task
    landing: Landing
    report: Report | None
    failed: Failed | None


class WorkerPool:
    """See the module. Used from one event loop.

    Args:
        size: workers.
        values: folder of kept results.
        arrived: called in the loop for every call that came back.
        resized: called in the loop with the number of usable workers whenever it changes.
        moved_up: called in the loop with the calls at whose worker another has just ended.
        threads: calls that a worker may hold.
        gpus: that each worker has.
        kills: whether a call that must end takes its worker along; else it is only no longer waited for.
    """

    def __init__(
        self,
        size: int,
        values: Path | None,
        *,
        arrived: Callable[[Arrival], None],
        resized: Callable[[int], None],
        moved_up: Callable[[list[Task]], None],
        threads: int = THREADS,
        kills: bool = True,
        gpus: int = 0,
    ) -> None:
        self._size, self._values = size, values
        self._arrived, self._resized, self._moved_up = arrived, resized, moved_up
        self._threads, self._kills, self._gpus = threads, kills, gpus
        self._slots: list[_Slot] = []
        self._at: dict[Task, _Slot] = {}
        self._suspects: set[tuple[str, int, int]] = set()
        self._deaths: dict[tuple[str, int, int], int] = {}
        self._waiting: list[Dispatch] = []
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._restart_s = _RESTART_FIRST_S
        self._closed = False
        self._started_by = os.getppid()

    async def start(self) -> None:
        """Returns when the first worker is up."""
        starting = [self._spawn(self._start_slot()) for _ in range(self._size)]
        async with asyncio.timeout(START_TIMEOUT_S):
            ended, _ = await asyncio.wait(starting, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for slot in self._slots:
            ray.kill(slot.handle)
        self._slots.clear()

    @property
    def usable(self) -> int:
        return sum(slot.usable for slot in self._slots)

    def dispatch(self, calls: Sequence[Dispatch]) -> None:
        """Give calls to the worker that has least to do; several go in one message, if they are very short."""
        alone = any(call.task[:3] in self._suspects for call in calls)
        if alone and len(calls) > 1:
            for call in calls:
                self.dispatch([call])
            return
        free = [slot for slot in self._slots if slot.usable and not slot.alone and not (alone and slot.calls)]
        if not free:
            self._waiting.extend(calls)
            return
        slot = min(free, key=lambda slot: len(slot.calls))
        slot.alone = alone
        keeping = [call for call in calls if call.keeps]
        orders = [(call.packed, name_of(call.task), tuple(call.circumstances), len(call.values)) for call in calls]
        values = [value for call in calls for value in call.values]
        sent = slot.handle.run.options(num_returns=1 + len(calls) + len(keeping))
        reports, *returned = sent.remote(orders, *values)
        kept = dict(zip((call.task for call in keeping), returned[len(calls) :], strict=True))
        landings = []
        for call, value in zip(calls, returned, strict=False):
            landing = Landing(value, kept.get(call.task))
            slot.calls[call.task] = landing
            self._at[call.task] = slot
            landings.append((call.task, landing))
        reports.future().add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._land, landings, slot, done)
        )

    def stop(self, task: Task) -> None:
        """End a call that is not wanted any more; whether it came back by then is of no interest."""
        slot = self._at.get(task)
        if slot is not None and self._kills:
            self._spawn(self._stop(task, slot))
        elif slot is not None:
            del slot.calls[task], self._at[task]
        self._waiting = [call for call in self._waiting if call.task != task]

    async def _stop(self, task: Task, slot: _Slot) -> None:
        if len(slot.calls) > 1:
            try:
                asked = slot.handle.drop.options(concurrency_group="control").remote(name_of(task))
                if await asyncio.wait_for(asked, _DROP_TIMEOUT_S) == DROPPED:
                    return
            except (TimeoutError, RayError):
                pass
        if task in slot.calls:
            del slot.calls[task]
            del self._at[task]
            await self._replace(slot, killed=True)

    def _land(self, landings: list[tuple[Task, Landing]], slot: _Slot, done: Any) -> None:
        if self._closed or slot not in self._slots:
            return
        error = done.exception()
        if isinstance(error, RayActorError):
            # The first to notice speaks for all that were there.
            self._spawn(self._replace(slot, killed=False))
            return
        reports = [None] * len(landings) if error is not None else done.result()
        slot.alone = False
        for (task, landing), report in zip(landings, reports, strict=True):
            if slot.calls.pop(task, None) is None:
                continue
            self._at.pop(task, None)
            self._suspects.discard(task[:3])
            self._deaths.pop(task[:3], None)
            self._arrived(_arrival(task, landing, report, error))
        if slot.calls:
            self._moved_up(list(slot.calls))
        self._dispatch_waiting()

    async def _replace(self, slot: _Slot, *, killed: bool) -> None:
        """A worker is gone: blame, tell, and start another in its place."""
        if slot not in self._slots:
            return
        self._slots.remove(slot)
        self._count()
        calls, slot.calls = slot.calls, {}
        if killed:
            ray.kill(slot.handle)
        for task, landing in calls.items():
            self._at.pop(task, None)
            guilty = not killed and self._is_guilty(task, alone=len(calls) == 1)
            alone = len(calls) == 1 and not killed
            reason = "its worker died while it ran" if alone else "another call took its worker down"
            failed = Failed(Trouble.WORKER_DIED, reason, innocent=not guilty)
            self._arrived(Arrival(task, landing, None, failed))
        log.warning("worker lost", extra={"killed": killed, "calls": len(calls)})
        await self._start_slot()

    def _is_guilty(self, task: Task, *, alone: bool) -> bool:
        if os.getppid() != self._started_by:
            # This machine's Ray has died: all its workers do in this second, and so does this process.
            return False
        key = task[:3]
        self._suspects.add(key)
        if not alone:
            return False
        self._deaths[key] = self._deaths.get(key, 0) + 1
        if self._deaths[key] <= _EXCUSED_DEATHS:
            return False
        self._suspects.discard(key)
        return True

    async def _start_slot(self) -> None:
        while not self._closed:
            slot = _Slot(new_worker(self._values, threads=self._threads, gpus=self._gpus))
            try:
                await asyncio.wait_for(slot.handle.ready.remote(), START_TIMEOUT_S)
            except (TimeoutError, RayError) as error:
                log.warning("a worker did not start", extra={"reason": printable(str(error), _REASON_CHARS)})
                await asyncio.sleep(self._restart_s)
                self._restart_s = min(2 * self._restart_s, _RESTART_MOST_S)
                continue
            self._restart_s = _RESTART_FIRST_S
            slot.usable = True
            self._slots.append(slot)
            self._count()
            self._dispatch_waiting()
            return

    def _count(self) -> None:
        self._resized(self.usable)

    def _dispatch_waiting(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self.dispatch([call])

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def name_of(task: Task) -> str:
    return f"{task.run}/{task.node}/{task.item}/{task.attempt}"


def _arrival(task: Task, landing: Landing, report: Report | None, error: BaseException | None) -> Arrival:
    if report is None:
        return Arrival(task, landing, None, _failure(error or RuntimeError("no report came")))
    if report.state == DROPPED:
        return Arrival(task, landing, None, Failed(Trouble.WORKER_DIED, "it was given up", innocent=True))
    return Arrival(task, landing, report, None)


def _failure(error: BaseException) -> Failed:
    """What went wrong outside the function: fetching its inputs, or starting it."""
    reason = last_line(error)
    if isinstance(error, OutOfMemoryError):
        return Failed(Trouble.MEMORY, reason)
    if isinstance(error, RayTaskError):
        return Failed(Trouble.ERROR, reason)
    return Failed(Trouble.WORKER_DIED, reason)
