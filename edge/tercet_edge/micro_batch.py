"""Runs frames in small batches across devices: the shell around `batch_queue`, with the compute threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isfinite

from tercet.back_off import BackOff
from tercet.errors import DeadlineError, OverloadedError, UnavailableError
from tercet.inference.segment_chain import SegmentChain
from tercet.inference.shared_run import Tensors, run_together
from tercet_edge.batch_queue import BatchQueue, Waiting, refusal_of

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MOST_S = 0.05, 5.0


@dataclass(frozen=True)
class Computed:
    """What a run gave one frame, and the clocks of its visit."""

    outputs: Tensors
    queue_us: int
    decode_us: int
    compute_us: int
    batch_size: int


@dataclass(eq=False)
class Work:
    """One frame's computation. `prepare` decodes it, in a compute thread."""

    chain: SegmentChain
    start: int
    stop: int
    prepare: Callable[[], Tensors]
    future: asyncio.Future[Computed]
    decode_us: int = 0


class MicroBatcher:
    """Computes frames for one event loop.

    Args:
        executor: where runs compute; `workers` at once.
        queue: what waits, and the rules.
    """

    def __init__(self, executor: Executor, queue: BatchQueue[Work], *, workers: int = 1) -> None:
        self._executor = executor
        self._queue = queue
        self._workers = workers
        self._news = asyncio.Event()
        # When the runs that are under way began.
        self._began_s: set[float] = set()
        self.runs = self.frames = self.crashes = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute while entered. Frames that still wait on leaving are refused."""
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(self._work()) for _ in range(self._workers)]
            try:
                yield
            finally:
                for loop in loops:
                    loop.cancel()
                for left in self._queue.clear():
                    _fail(left, _shutting_down())

    @property
    def queue_ms(self) -> float:
        """How long a frame that came now would wait."""
        return self._queue.queue_s() * 1000

    @property
    def longest_run_s(self) -> float:
        """For how long the oldest run that is under way has been computing."""
        return time.monotonic() - min(self._began_s) if self._began_s else 0.0

    async def compute(
        self,
        chain: SegmentChain,
        start: int,
        stop: int,
        prepare: Callable[[], Tensors],
        *,
        key: Hashable | None,
        deadline_s: float,
        durable: bool = False,
    ) -> Computed:
        """Boundary `stop` of one frame.

        Args:
            prepare: gives the tensors of boundary `start`; runs in a compute thread.
            key: frames of one key may share a run; None: alone.
            deadline_s: of `time.monotonic`; infinite for none.
        Raises:
            OverloadedError, DeadlineError: refused at once, dropped while waiting, or not computed by its deadline.
            UnavailableError: the run could not be made.
            Whatever `prepare` and the run raise.
        If cancelled before its run began, the frame is not computed.
        """
        now_s = time.monotonic()
        work = Work(chain, start, stop, prepare, asyncio.get_running_loop().create_future())
        item = Waiting(work, key, now_s, deadline_s, durable)
        dropped = self._queue.put(item, now_s)
        if dropped is not None:
            _fail(dropped, OverloadedError("dropped for a newer frame", retry_after_s=self._queue.queue_s()))
        self._news.set()
        try:
            # A run that hangs must not keep its frames, nor those behind it.
            async with asyncio.timeout_at(deadline_s if isfinite(deadline_s) else None):
                return await work.future
        except TimeoutError as error:
            if self._queue.remove(item):
                raise refusal_of(item, time.monotonic()) from error
            raise DeadlineError("the frame's deadline passed while it was computed") from error
        finally:
            self._queue.remove(item)

    async def _work(self) -> None:
        """Run after run. A run that cannot be made, say for want of a thread, costs its frames, not the edge."""
        back_off = BackOff(RETRY_FIRST_S, RETRY_MOST_S)
        while True:
            try:
                await self._run_next()
            except Exception:
                self.crashes += 1
                wait_s = back_off.wait_s()
                log.exception("a run could not be made", extra={"again_in_s": round(wait_s, 2)})
                await asyncio.sleep(wait_s)
            else:
                back_off.reset()

    async def _run_next(self) -> None:
        batch = await self._next()
        began_s = time.monotonic()
        self._began_s.add(began_s)
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, _run, batch, began_s)
        except asyncio.CancelledError:
            for item in batch:
                _fail(item, _shutting_down())
            raise
        except Exception as error:
            for item in batch:
                _fail(item, UnavailableError(f"its run could not be made: {error}"))
            raise
        finally:
            self._began_s.discard(began_s)
        self.runs += 1
        self.frames += len(batch)
        self._queue.ran(len(batch), time.monotonic() - began_s)

    async def _next(self) -> list[Waiting[Work]]:
        while True:
            # Before looking: a frame that comes after the look sets it again.
            self._news.clear()
            now_s = time.monotonic()
            found = self._queue.take(now_s)
            if found is None or isinstance(found, float):
                await self._wait(found)
                continue
            for expired in found.expired:
                _fail(expired, refusal_of(expired, now_s))
            if found.run:
                return found.run

    async def _wait(self, timeout_s: float | None) -> None:
        """Until a frame comes, or the time to hold back is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return


def _run(batch: list[Waiting[Work]], began_s: float) -> None:
    """Decode and compute; results go to the futures on their loop. A shared run that fails is run one by one."""
    ready: list[tuple[Waiting[Work], Tensors]] = []
    for item in batch:
        decode_s = time.perf_counter()
        try:
            tensors = item.work.prepare()
        except Exception as error:
            _post(item, error)
            continue
        item.work.decode_us = max(1, _us(time.perf_counter() - decode_s))
        ready.append((item, tensors))
    if ready:
        _compute(ready, began_s)


def _compute(ready: list[tuple[Waiting[Work], Tensors]], began_s: float) -> None:
    first = ready[0][0].work
    compute_s = time.perf_counter()
    try:
        results = run_together(first.chain, [tensors for _, tensors in ready], first.start, first.stop)
    except Exception as error:
        if len(ready) == 1:
            _post(ready[0][0], error)
            return
        log.warning("a shared run failed, frames run alone", extra={"frames": len(ready), "reason": str(error)})
        for one in ready:
            _compute([one], began_s)
        return
    compute_us = _us(time.perf_counter() - compute_s)
    for (item, _), outputs in zip(ready, results, strict=True):
        queue_us = _us(began_s - item.arrived_s)
        _post(item, Computed(outputs, queue_us, item.work.decode_us, compute_us, len(ready)))


def _post(item: Waiting[Work], result: Computed | BaseException) -> None:
    future = item.work.future
    future.get_loop().call_soon_threadsafe(_settle, future, result)


def _settle(future: asyncio.Future[Computed], result: Computed | BaseException) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


def _fail(item: Waiting[Work], error: Exception) -> None:
    _settle(item.work.future, error)


def _shutting_down() -> OverloadedError:
    return OverloadedError("this edge is shutting down", retry_after_s=1.0)


def _us(duration_s: float) -> int:
    return max(0, round(duration_s * 1_000_000))
