"""The workers of one scheduler: which gets which call, and what happens when one dies or hangs.

A call goes to an empty worker; only short ones wait at a worker behind other short ones. What must end is dropped
there if it has not begun; else its worker is killed and replaced, and calls that waited there are taken back, to be
tried elsewhere. How long a call has run its worker says: of several that are there, nobody else knows which runs.
No call is blamed when the Ray of this machine dies, which takes all workers along.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from tercet.printable import printable
from tercet_cloud.dag.baton import ENDED, RUNNING, Standing
from tercet_cloud.dag.blame import Blame
from tercet_cloud.dag.call import DROPPED, Circumstances, Report
from tercet_cloud.dag.outcomes import Failed, TakenBack, Task, Trouble
from tercet_cloud.error_lines import last_line

log = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
# A worker that does not say within this what it runs holds the interpreter, or is gone.
_ANSWER_S = 3.0
_RESTART_FIRST_S, _RESTART_MOST_S = 0.5, 30.0
_REASON_CHARS = 300


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A call to be given to a worker.

    Attributes:
        values: the references that go along.
        keeps: the bytes of its result are wanted.
        timeout_s: how long it may run.
        short: it, and others behind it, may wait at a worker.
    """

    task: Task
    packed: bytes
    circumstances: Circumstances
    values: tuple[Any, ...]
    keeps: bool
    timeout_s: float | None = None
    short: bool = False


@dataclass(frozen=True, slots=True)
class Landing:
    """What comes back of a call beside its report: references to its value and to its kept bytes."""

    value: Any
    kept: Any | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came back of a call: its report, or what became of it instead."""

    task: Task
    landing: Landing
    report: Report | None
    instead: Failed | TakenBack | None


@dataclass(eq=False, slots=True)
class _Slot:
    """One worker.

    Attributes:
        calls: that are there, in order of dispatch.
        alone: nothing may be put beside them.
        asked: questions to it that are under way; it gets no calls meanwhile.
    """

    handle: Any
    calls: dict[Task, _Sent] = field(default_factory=dict)
    alone: bool = False
    asked: int = 0


@dataclass(eq=False, slots=True)
class _Sent:
    """A call at a worker.

    Attributes:
        began_s: since when it runs; None: it may have waited.
        together: it came with others in one message, whose reports come when all have ended.
    """

    call: Dispatch
    slot: _Slot
    landing: Landing
    began_s: float | None
    together: bool


class WorkerPool:
    """See the module. Used from one event loop.

    Args:
        size: workers.
        make: a handle to a new worker.
        arrived: called in the loop for every call that came back.
        look_again: called in the loop with a call that `check` found to have time left, until then.
        resized: called in the loop with the number of usable workers whenever it changes.
        beside: calls run beside each other in a worker and compute nothing there: one that must end is only no
            longer waited for.
    """

    def __init__(
        self,
        size: int,
        make: Callable[[], Any],
        *,
        arrived: Callable[[Arrival], None],
        look_again: Callable[[Task, float], None],
        resized: Callable[[int], None],
        beside: bool = False,
    ) -> None:
        self._size, self._make, self._beside = size, make, beside
        self._arrived, self._look_again, self._resized = arrived, look_again, resized
        self._slots: list[_Slot] = []
        self._at: dict[Task, _Sent] = {}
        self._waiting: dict[Task, Dispatch] = {}
        self._blame = Blame()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._restart_s = _RESTART_FIRST_S
        self._closed = False
        self._started_by = os.getppid()

    def begin(self) -> list[asyncio.Task[None]]:
        """Start the workers; calls wait until one is up."""
        return [self._spawn(self._start_slot()) for _ in range(self._size)]

    async def start(self) -> None:
        """Returns when the first worker is up."""
        async with asyncio.timeout(START_TIMEOUT_S):
            ended, _ = await asyncio.wait(self.begin(), return_when=asyncio.FIRST_COMPLETED)
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
        return sum(not slot.asked for slot in self._slots)

    def forget(self, run: str) -> None:
        """A run has ended."""
        self._blame.forget(run)

    # --- giving out

    def dispatch(self, calls: Sequence[Dispatch]) -> None:
        """Give calls to a worker; several go in one message. They wait here until there is room at one."""
        if self._waiting or (len(calls) > 1 and any(self._blame.suspects(call.task) for call in calls)):
            self._waiting.update((call.task, call) for call in calls)
            self._dispatch_waiting()
        elif (slot := self._room_for(calls)) is not None:
            self._send(slot, calls)
        else:
            self._waiting.update((call.task, call) for call in calls)

    def _room_for(self, calls: Sequence[Dispatch]) -> _Slot | None:
        """An empty worker, or for short calls the one that has least to do."""
        shares = self._beside or not self._goes_alone(calls)
        best = None
        for slot in self._slots:
            if slot.asked:
                continue
            if not slot.calls:
                return slot
            if shares and not slot.alone and (best is None or len(slot.calls) < len(best.calls)):
                best = slot
        return best

    def _goes_alone(self, calls: Sequence[Dispatch]) -> bool:
        return any(not call.short or self._blame.suspects(call.task) for call in calls)

    def _dispatch_waiting(self) -> None:
        """The best rank first; who waits for an empty worker is not overtaken by what could go behind another."""
        for call in sorted(self._waiting.values(), key=lambda call: call.circumstances.rank):
            slot = self._room_for([call])
            if slot is None:
                return
            del self._waiting[call.task]
            self._send(slot, [call])

    def _send(self, slot: _Slot, calls: Sequence[Dispatch]) -> None:
        slot.alone = not self._beside and self._goes_alone(calls)
        keeping = [call for call in calls if call.keeps]
        orders = [(call.packed, tuple(call.circumstances), len(call.values), call.keeps) for call in calls]
        values = [value for call in calls for value in call.values]
        message = slot.handle.run.options(num_returns=1 + len(calls) + len(keeping))
        reports, *returned = message.remote(orders, *values)
        kept = dict(zip((call.task for call in keeping), returned[len(calls) :], strict=True))
        began_s = self._loop.time() if self._beside or not slot.calls else None
        sent = []
        for call, value in zip(calls, returned, strict=False):
            one = _Sent(call, slot, Landing(value, kept.get(call.task)), began_s, len(calls) > 1)
            slot.calls[call.task] = self._at[call.task] = one
            sent.append(one)
            if not self._beside:
                began_s = None
        reports.future().add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._land, sent, slot, done)
        )

    # --- taking back

    def stop(self, task: Task) -> None:
        """End a call that is not wanted any more; whether it came back by then is of no interest."""
        self._waiting.pop(task, None)
        self._blame.clear(task)
        sent = self._at.get(task)
        if sent is None:
            return
        if self._beside:
            self._release(sent)
            self._spawn(self._give_up(sent))
        elif len(sent.slot.calls) == 1:
            self._kill(sent)
        else:
            self._ask(sent, self._stopped)

    def check(self, task: Task) -> None:
        """A call was given out as long ago as it may take: end it if it ran all that time.

        It then arrives as failed; if it waited at a worker, as taken back; if it has time left, `look_again` says.
        """
        waiting = self._waiting.get(task)
        if waiting is not None:
            self._look_again(task, self._loop.time() + (waiting.timeout_s or 0.0))
            return
        sent = self._at.get(task)
        if sent is None:
            return
        if sent.began_s is not None and (self._beside or len(sent.slot.calls) == 1):
            self._judge(sent, sent.began_s)
        else:
            self._ask(sent, self._checked)

    def _stopped(self, sent: _Sent, standing: Standing | None) -> None:
        if standing is None:
            self._kill_silent(sent)
        elif standing.state == RUNNING:
            self._kill(sent)
        else:
            self._release(sent)

    def _checked(self, sent: _Sent, standing: Standing | None) -> None:
        if standing is None and len(sent.slot.calls) > 1:
            self._kill_silent(sent)
        elif standing is None:
            self._time_out(sent)
        elif standing.state == RUNNING:
            sent.began_s = self._loop.time() - standing.ran_s
            self._judge(sent, sent.began_s)
        elif standing.state != ENDED or sent.together:
            self._release(sent)
            self._arrived(_instead(sent, TakenBack()))

    def _judge(self, sent: _Sent, began_s: float) -> None:
        ends_s = began_s + (sent.call.timeout_s or 0.0)
        if ends_s > self._loop.time():
            self._look_again(sent.call.task, ends_s)
        else:
            self._time_out(sent)

    def _time_out(self, sent: _Sent) -> None:
        if self._beside:
            self._release(sent)
            self._spawn(self._give_up(sent))
        else:
            self._kill(sent)
        reason = f"no result within {sent.call.timeout_s or 0.0:g} s"
        self._arrived(_instead(sent, Failed(Trouble.TIMEOUT, reason)))

    def _kill(self, sent: _Sent) -> None:
        """End a call that runs. What waited behind it is taken back."""
        for other in self._lose(sent.slot, killed=True):
            if other is not sent:
                self._arrived(_instead(other, TakenBack()))

    def _kill_silent(self, sent: _Sent) -> None:
        """One of the calls there holds the interpreter, nobody knows which: each is tried again alone."""
        for other in self._lose(sent.slot, killed=True):
            self._blame.suspect(other.call.task)
            reason = "its worker did not answer any more"
            self._arrived(_instead(other, Failed(Trouble.WORKER_DIED, reason, innocent=True)))

    def _ask(self, sent: _Sent, then: Callable[[_Sent, Standing | None], None]) -> None:
        """Drop a call if it has not begun, and tell `then` how far it is; its worker gets no calls meanwhile."""
        sent.slot.asked += 1
        self._count()
        self._spawn(self._asked(sent, then))

    async def _asked(self, sent: _Sent, then: Callable[[_Sent, Standing | None], None]) -> None:
        standing = await self._standing(sent, concurrency_group="control")
        sent.slot.asked -= 1
        if self._at.get(sent.call.task) is sent:
            then(sent, standing)
        self._count()
        self._dispatch_waiting()

    async def _give_up(self, sent: _Sent) -> None:
        await self._standing(sent)

    async def _standing(self, sent: _Sent, **options: Any) -> Standing | None:
        """None: the worker does not say."""
        asked = sent.slot.handle.drop.options(**options).remote(sent.call.circumstances.name)
        try:
            standing: Standing = await asyncio.wait_for(asked, _ANSWER_S)
        except (TimeoutError, RayError):
            return None
        return standing

    def _release(self, sent: _Sent) -> None:
        del sent.slot.calls[sent.call.task], self._at[sent.call.task]

    # --- coming back

    def _land(self, sent: list[_Sent], slot: _Slot, done: Any) -> None:
        if self._closed or slot not in self._slots:
            return
        error = done.exception()
        if isinstance(error, RayActorError | OutOfMemoryError):
            # The first to notice speaks for all that were there.
            self._mourn(slot, error)
            return
        reports = [None] * len(sent) if error is not None else done.result()
        for one, report in zip(sent, reports, strict=True):
            task = one.call.task
            if self._at.get(task) is not one:
                continue
            self._release(one)
            if error is None:
                self._blame.clear(task)
            elif one.together:
                self._blame.suspect(task)
            self._arrived(_arrival(one, report, error))
        self._dispatch_waiting()

    def _mourn(self, slot: _Slot, error: Exception) -> None:
        """A worker died: who was there is tried again, and blamed if it does so again."""
        sent = self._lose(slot, killed=False)
        alone = len(sent) == 1
        trouble, reason = Trouble.WORKER_DIED, "its worker died while it ran"
        if isinstance(error, OutOfMemoryError):
            trouble, reason = Trouble.MEMORY, "its worker was ended, as its machine ran out of memory"
        elif not alone:
            reason = "another call took its worker down"
        # A call that runs on another tier does nothing to the process that waits for it. And where the Ray of this
        # machine has died, all its workers do in this second, and so does this process.
        excused = self._beside or os.getppid() != self._started_by
        for one in sent:
            guilty = not excused and self._blame.died(one.call.task, alone=alone)
            self._arrived(_instead(one, Failed(trouble, reason, innocent=not guilty)))

    def _lose(self, slot: _Slot, *, killed: bool) -> list[_Sent]:
        """Part with a worker and start another in its place; what was there."""
        self._slots.remove(slot)
        sent, slot.calls = list(slot.calls.values()), {}
        for one in sent:
            del self._at[one.call.task]
        # Also one that is said to be gone: it may only be out of reach, and would go on computing.
        ray.kill(slot.handle)
        log.warning("worker lost", extra={"killed": killed, "calls": len(sent)})
        self._count()
        self._spawn(self._start_slot())
        return sent

    # --- workers

    async def _start_slot(self) -> None:
        while not self._closed:
            try:
                slot = _Slot(self._make())
                await asyncio.wait_for(slot.handle.ready.remote(), START_TIMEOUT_S)
            except (TimeoutError, RayError) as error:
                log.warning("a worker did not start", extra={"reason": printable(str(error), _REASON_CHARS)})
                await asyncio.sleep(self._restart_s)
                self._restart_s = min(2 * self._restart_s, _RESTART_MOST_S)
                continue
            self._restart_s = _RESTART_FIRST_S
            self._slots.append(slot)
            self._count()
            self._dispatch_waiting()
            return

    def _count(self) -> None:
        self._resized(self.usable)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def name_of(task: Task) -> str:
    return f"{task.run}/{task.node}/{task.item}/{task.attempt}"


def _instead(sent: _Sent, instead: Failed | TakenBack) -> Arrival:
    return Arrival(sent.call.task, sent.landing, None, instead)


def _arrival(sent: _Sent, report: Report | None, error: BaseException | None) -> Arrival:
    if report is None:
        return _instead(sent, _failure(error or RuntimeError("no report came"), innocent=sent.together))
    if report.state == DROPPED:
        return _instead(sent, TakenBack())
    return Arrival(sent.call.task, sent.landing, report, None)


def _failure(error: BaseException, *, innocent: bool) -> Failed:
    """What went wrong outside the function: fetching its inputs, starting it, or handing over its result.

    Args:
        innocent: it came with others, any of which may be at fault: each is tried again alone.
    """
    trouble = Trouble.ERROR if isinstance(error, RayTaskError) else Trouble.WORKER_DIED
    return Failed(trouble, last_line(error), innocent=innocent)
