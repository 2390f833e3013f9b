"""Frames that wait while calls are under way leave together in the next one.

Nothing is ever held back for company: a frame that finds a call free leaves at once, and the busier the way is, the
fuller its calls are (as in Nagle 1984, RFC 896).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tercet.errors import DeadlineError, LinkDownError, SpecError, TercetError, WireFormatError
from tercet.limits import MAX_CALL_FRAMES, MIB

# A call takes no further frame beyond this: large messages gain nothing by company, and wait for each other.
CALL_BYTES = MIB // 4

Send = Callable[[Sequence[bytes], float], Awaitable[Sequence[bytes]]]


@dataclass(eq=False)
class _Asked:
    """One frame and whoever waits for its answer; `call` once it is under way."""

    sealed: bytes
    deadline_s: float
    answer: asyncio.Future[bytes]
    call: _Call | None = None


@dataclass(eq=False)
class _Call:
    waiters: int
    task: asyncio.Task[None] | None = None


class CallBatch:
    """For one event loop.

    Args:
        send: one call: sealed frames and the seconds it may take; one answer per frame, in order. An empty answer
            sends its frame again, alone.
        max_calls: calls under way at once; not bounded if `max_frames` is 1.
        max_frames: frames of one call.
    """

    def __init__(self, send: Send, *, max_calls: int, max_frames: int) -> None:
        if max_calls < 1 or not 1 <= max_frames <= MAX_CALL_FRAMES:
            raise SpecError(f"at least one call of 1 to {MAX_CALL_FRAMES} frames, not {max_calls} of {max_frames}")
        self._send = send
        self._max_calls = max_calls
        self._max_frames = max_frames
        self._queue: deque[_Asked] = deque()
        self._calls: set[_Call] = set()
        self._look_due = False
        self.calls = self.frames = 0

    async def ask(self, sealed: bytes, timeout_s: float) -> bytes:
        """The answer to one frame.

        Raises:
            DeadlineError: not within `timeout_s`, waiting for a call included.
            What `send` raises, for every frame of the call.
        If cancelled, the other frames of its call go on; a call that nobody waits for is ended.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(sealed, time.monotonic() + timeout_s, loop.create_future())
        self._queue.append(asked)
        self._look_soon()
        try:
            async with asyncio.timeout(timeout_s):
                return await asked.answer
        except TimeoutError as error:
            # Its call is left to its own deadline, so that whoever sends it learns that no answer came.
            self._leave(asked)
            raise DeadlineError(f"the cloud did not answer within {timeout_s:.3g} s") from error
        except asyncio.CancelledError:
            call = self._leave(asked)
            if call is not None and call.waiters == 0 and call.task:
                call.task.cancel()
            raise

    async def aclose(self) -> None:
        """End all calls; frames that wait are refused."""
        for asked in self._queue:
            _fail(asked.answer, _closed())
        self._queue.clear()
        tasks = [call.task for call in self._calls if call.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_soon(self) -> None:
        # Not at once: frames of one run become ready in one turn of the loop, and should share a call.
        if not self._look_due:
            self._look_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        while self._queue and (self._max_frames == 1 or len(self._calls) < self._max_calls):
            if frames := self._next_frames():
                self._start(frames)

    def _next_frames(self) -> list[_Asked]:
        frames: list[_Asked] = []
        size_bytes = 0
        while self._queue and len(frames) < self._max_frames:
            size_bytes += len(self._queue[0].sealed)
            if frames and size_bytes > CALL_BYTES:
                break
            asked = self._queue.popleft()
            if not asked.answer.done():
                frames.append(asked)
        return frames

    def _start(self, frames: list[_Asked]) -> None:
        call = _Call(len(frames))
        for asked in frames:
            asked.call = call
        self._calls.add(call)
        self.calls += 1
        self.frames += len(frames)
        call.task = asyncio.get_running_loop().create_task(self._run(call, frames))

    async def _run(self, call: _Call, frames: list[_Asked]) -> None:
        left_s = max(asked.deadline_s for asked in frames) - time.monotonic()
        try:
            answers = await self._send([asked.sealed for asked in frames], max(0.001, left_s))
            if len(answers) != len(frames):
                raise WireFormatError(f"{len(answers)} answers came to a call of {len(frames)} frames")
        except asyncio.CancelledError:
            for asked in frames:
                _fail(asked.answer, _closed())
            raise
        except Exception as error:
            for asked in frames:
                _fail(asked.answer, error)
        else:
            self._settle(frames, answers)
        finally:
            self._calls.discard(call)
            self._look_soon()

    def _settle(self, frames: Sequence[_Asked], answers: Sequence[bytes]) -> None:
        for asked, answer in zip(frames, answers, strict=True):
            if asked.answer.done():
                continue
            if answer:
                asked.answer.set_result(answer)
            elif len(frames) == 1:
                _fail(asked.answer, WireFormatError("an empty answer came to a frame sent alone"))
            else:
                self._start([asked])

    def _leave(self, asked: _Asked) -> _Call | None:
        """Whoever asked is gone without an answer; the call that its frame is in, if it is."""
        if asked.call is not None:
            asked.call.waiters -= 1
        elif asked in self._queue:
            self._queue.remove(asked)
        return asked.call


def _closed() -> LinkDownError:
    return LinkDownError("the way to the cloud was closed")


def _fail(answer: asyncio.Future[bytes], error: Exception) -> None:
    if answer.done():
        return
    if isinstance(error, TercetError):
        # Each waiter its own: one exception raised in many tasks would collect all their traces.
        copy = type(error)(str(error))
        copy.__dict__.update(error.__dict__)
        copy.__cause__ = error
        error = copy
    answer.set_exception(error)
