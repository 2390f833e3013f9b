"""Frames that share calls: who leaves with whom, and what one frame's trouble costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.errors import DeadlineError, LinkDownError, OverloadedError, SpecError, WireFormatError
from tercet_edge.call_batch import CALL_BYTES, CallBatch


class Cloud:
    """Echoes frames once the gate is open; keeps what calls it saw."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.seen: list[list[bytes]] = []
        self.ended = 0

    async def send(self, frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        self.seen.append(list(frames))
        try:
            async with asyncio.timeout(timeout_s):
                await self.gate.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        return list(frames)


@asynccontextmanager
async def batching(cloud: Cloud, max_calls: int = 1, max_frames: int = 8) -> AsyncIterator[CallBatch]:
    batch = CallBatch(cloud.send, max_calls=max_calls, max_frames=max_frames)
    try:
        yield batch
    finally:
        await batch.aclose()


def asks(batch: CallBatch, frames: Sequence[bytes], timeout_s: float = 5.0) -> list[asyncio.Task[bytes]]:
    return [asyncio.create_task(batch.ask(frame, timeout_s)) for frame in frames]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_frames_that_wait_leave_together_and_a_lone_one_leaves_at_once() -> None:
    cloud = Cloud()
    async with batching(cloud, max_frames=4) as batch:
        tasks = asks(batch, [b"0"])
        await turns()
        assert cloud.seen == [[b"0"]]
        tasks += asks(batch, [b"1", b"2", b"3", b"4", b"5"])
        await turns()
        assert cloud.seen == [[b"0"]]
        cloud.gate.set()
        assert await asyncio.gather(*tasks) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert cloud.seen[1:] == [[b"1", b"2", b"3", b"4"], [b"5"]]


async def test_frames_ready_in_one_turn_of_the_loop_share_even_the_first_call() -> None:
    cloud = Cloud()
    cloud.gate.set()
    async with batching(cloud, max_calls=4) as batch:
        await asyncio.gather(*asks(batch, [b"a", b"b", b"c"]))
    assert cloud.seen == [[b"a", b"b", b"c"]]


async def test_with_one_frame_a_call_nothing_waits_for_a_free_call() -> None:
    cloud = Cloud()
    async with batching(cloud, max_frames=1) as batch:
        tasks = asks(batch, [b"a", b"b", b"c"])
        await turns()
        assert cloud.seen == [[b"a"], [b"b"], [b"c"]]
        cloud.gate.set()
        await asyncio.gather(*tasks)


async def test_a_large_frame_goes_alone() -> None:
    cloud = Cloud()
    cloud.gate.set()
    large = bytes(CALL_BYTES + 1)
    async with batching(cloud, max_calls=4) as batch:
        await asyncio.gather(*asks(batch, [b"a", large, b"b"]))
    assert cloud.seen == [[b"a"], [large], [b"b"]]


async def test_a_cancelled_frame_costs_the_others_nothing_and_a_call_nobody_waits_for_is_ended() -> None:
    cloud = Cloud()
    async with batching(cloud) as batch:
        shared = asks(batch, [b"a", b"b"])
        await turns()
        shared[0].cancel()
        await turns()
        assert cloud.ended == 0
        shared[1].cancel()
        await turns()
        assert cloud.ended == 1
        cloud.gate.set()
        assert await batch.ask(b"c", 1.0) == b"c"


async def test_a_frame_cancelled_while_it_waits_is_never_sent() -> None:
    cloud = Cloud()
    async with batching(cloud) as batch:
        first = asks(batch, [b"a"])
        await turns()
        second, third = asks(batch, [b"b", b"c"])
        await turns()
        second.cancel()
        cloud.gate.set()
        assert await asyncio.gather(*first, third) == [b"a", b"c"]
    assert cloud.seen == [[b"a"], [b"c"]]


async def test_each_frame_keeps_its_own_deadline() -> None:
    cloud = Cloud()
    async with batching(cloud) as batch:
        near, far = asks(batch, [b"near"], 0.02) + asks(batch, [b"far"], 5.0)
        with pytest.raises(DeadlineError):
            await near
        assert not far.done()
        queued = asks(batch, [b"queued"], 0.02)
        with pytest.raises(DeadlineError):
            await queued[0]
        cloud.gate.set()
        assert await far == b"far"
    assert cloud.seen == [[b"near", b"far"]]


async def test_a_lost_call_fails_all_its_frames_and_says_when_to_retry() -> None:
    async def send(frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        raise OverloadedError("full", retry_after_s=0.5)

    batch = CallBatch(send, max_calls=1, max_frames=8)
    results = await asyncio.gather(*asks(batch, [b"a", b"b"]), return_exceptions=True)
    assert [type(result) for result in results] == [OverloadedError] * 2
    assert [result.retry_after_s for result in results if isinstance(result, OverloadedError)] == [0.5] * 2
    assert results[0] is not results[1]


async def test_an_empty_answer_sends_its_frame_again_alone() -> None:
    seen: list[int] = []

    async def send(frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        seen.append(len(frames))
        return [frames[0], *(b"" for _ in frames[1:])]

    batch = CallBatch(send, max_calls=1, max_frames=8)
    assert await asyncio.gather(*asks(batch, [b"a", b"b", b"c"])) == [b"a", b"b", b"c"]
    assert seen == [3, 1, 1]


@pytest.mark.parametrize("answers", [[], [b"x"], [b"x", b"y", b"z"]])
async def test_a_wrong_number_of_answers_is_nobodys_answer(answers: list[bytes]) -> None:
    async def send(frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        return answers

    batch = CallBatch(send, max_calls=1, max_frames=8)
    results = await asyncio.gather(*asks(batch, [b"a", b"b"]), return_exceptions=True)
    assert {type(result) for result in results} == {WireFormatError}


async def test_closing_refuses_what_waits_and_what_is_under_way() -> None:
    cloud = Cloud()
    async with batching(cloud) as batch:
        tasks = asks(batch, [b"a"])
        await turns()
        tasks += asks(batch, [b"b"])
        await turns()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {LinkDownError}


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(SpecError, match="256"):
        CallBatch(Cloud().send, max_calls=1, max_frames=1000)


@settings(max_examples=30, deadline=None)
@given(
    frames=st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30),
    max_calls=st.integers(1, 3),
    max_frames=st.integers(1, 5),
)
def test_every_frame_gets_its_own_answer_whoever_is_cancelled(
    frames: list[tuple[int, bool]], max_calls: int, max_frames: int
) -> None:
    async def scenario() -> None:
        cloud = Cloud()
        cloud.gate.set()
        async with batching(cloud, max_calls, max_frames) as batch:
            tasks = []
            for number, (pause, cancelled) in enumerate(frames):
                (task,) = asks(batch, [b"%d" % number])
                tasks.append((number, task, cancelled))
                await turns(pause)
                if cancelled:
                    task.cancel()
            for number, task, cancelled in tasks:
                with suppress(asyncio.CancelledError):
                    assert await task == b"%d" % number
                assert cancelled or not task.cancelled()
        assert all(len(call) <= max_frames for call in cloud.seen)

    asyncio.run(scenario())
