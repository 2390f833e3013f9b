"""The edge's way to several real clouds: who gets the frames, and what a cloud that fails costs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.plain_cloud import plain_cloud
from support.processes import free_port
from support.tiny_model import tiny_boundary, tiny_deployment, tiny_input, tiny_reference
from tercet.codecs.codec import Float32Array
from tercet.errors import DeadlineError, LinkDownError, NotFoundError, WireFormatError
from tercet.limits import MAX_CALL_FRAMES
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet_edge.cloud_link import CloudLink
from tercet_edge.uplink import Uplink


@pytest.fixture
def deployed(tmp_path: Path) -> tuple[Store, Deployment]:
    store = Store(tmp_path)
    return store, tiny_deployment(store)


def frame(deployment: Deployment, seed: int = 0, model: str | None = None) -> bytes:
    header = pb.FrameHeader(model=model or deployment.model, plan="raw", boundary=2, node="cam-1", sequence=seed)
    return Frame.encode(header, {"squeezed": tiny_boundary(tiny_input(seed), 2)}, "raw").seal()


def right(answer: Answer, seed: int) -> bool:
    scores: Float32Array = tiny_reference(tiny_input(seed))["scores"]
    return bool(abs(answer.outputs()["scores"] - scores).max() < 1e-5)


async def test_frames_that_wait_share_calls_and_each_gets_its_own_answer(
    deployed: tuple[Store, Deployment],
) -> None:
    store, deployment = deployed
    async with plain_cloud(store, deployment) as cloud, Uplink([cloud.address]) as uplink:
        cloud.delay_s = 0.01
        answers = await asyncio.gather(*(uplink.infer(frame(deployment, seed), 5.0) for seed in range(60)))
    assert all(right(answer, seed) for seed, answer in enumerate(answers))
    assert cloud.frames == 60
    assert cloud.calls == uplink.calls <= 10


async def test_a_bad_frame_in_a_call_costs_only_its_own_answer(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    good = frame(deployment)
    async with plain_cloud(store, deployment) as cloud, Uplink([cloud.address]) as uplink:
        sent = [good, good[:-1] + bytes([good[-1] ^ 1]), frame(deployment, model="other@0123456789ab"), good]
        answers = await asyncio.gather(*(uplink.infer(sealed, 5.0) for sealed in sent))
        assert cloud.calls == 1
    assert [type(answer.refusal) for answer in answers] == [type(None), WireFormatError, NotFoundError, type(None)]
    assert right(answers[3], 0)


async def test_a_call_over_the_limits_is_refused_as_a_whole(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    async with plain_cloud(store, deployment) as cloud:
        link = CloudLink(cloud.address)
        with pytest.raises(WireFormatError, match=f"1 to {MAX_CALL_FRAMES} frames"):
            await link.ask([b"x"] * (MAX_CALL_FRAMES + 1), 5.0)
        with pytest.raises(WireFormatError, match="this one 0"):
            await link.ask([], 5.0)
        assert cloud.frames == 0
        await link.aclose()


async def test_a_cloud_that_is_killed_costs_no_frame_and_is_used_again_when_it_is_back(
    deployed: tuple[Store, Deployment],
) -> None:
    store, deployment = deployed
    port = free_port()
    async with plain_cloud(store, deployment) as staying:
        mortal = AsyncExitStack()
        cloud = await mortal.enter_async_context(plain_cloud(store, deployment, port=port))
        async with Uplink([cloud.address, staying.address]) as uplink:

            async def send(count: int) -> list[Answer]:
                return [await uplink.infer(frame(deployment), 5.0) for _ in range(count)]

            await send(10)
            assert cloud.frames
            await mortal.aclose()
            # Sent at once, so that both are asked; what the dead one lost is asked again elsewhere.
            answers = [
                answer
                for _ in range(8)
                for answer in await asyncio.gather(*(uplink.infer(frame(deployment), 5.0) for _ in range(40)))
            ]
            assert all(right(answer, 0) for answer in answers)
            assert 1 <= uplink.retried <= 10
            async with plain_cloud(store, deployment, port=port) as back:
                async with asyncio.timeout(20):
                    while not back.frames:
                        await send(1)
                        await asyncio.sleep(0.02)
                assert uplink.states()[back.address] == "closed"


async def test_a_slow_cloud_gets_less(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    async with (
        plain_cloud(store, deployment) as quick,
        plain_cloud(store, deployment) as slow,
        Uplink([quick.address, slow.address], max_call_frames=1) as uplink,
    ):
        slow.delay_s = 0.1
        await asyncio.gather(*(uplink.infer(frame(deployment), 5.0) for _ in range(4)))
        for _ in range(20):
            await asyncio.gather(*(uplink.infer(frame(deployment), 5.0) for _ in range(4)))
    assert quick.frames > 2 * slow.frames


async def test_with_every_cloud_gone_frames_are_refused_at_once_and_told_when_to_retry(
    deployed: tuple[Store, Deployment],
) -> None:
    _, deployment = deployed
    async with Uplink([f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]) as uplink:
        refusals = []
        for _ in range(12):
            with pytest.raises(LinkDownError) as refused:
                await uplink.infer(frame(deployment), 5.0)
            refusals.append(refused.value)
    assert refusals[-1].retry_after_s


async def test_a_cloud_that_never_answers_is_soon_left_alone(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    async with plain_cloud(store, deployment) as cloud, Uplink([cloud.address]) as uplink:
        assert right(await uplink.infer(frame(deployment), 5.0), 0)
        cloud.delay_s = 60
        for _ in range(3):
            with pytest.raises(DeadlineError):
                await uplink.infer(frame(deployment), 0.05)
        async with asyncio.timeout(5):
            while uplink.states()[cloud.address] == "closed":
                await asyncio.sleep(0.01)


async def test_deadlines_that_are_too_near_are_not_the_clouds_failure(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    async with plain_cloud(store, deployment) as cloud, Uplink([cloud.address], max_call_frames=1) as uplink:
        cloud.delay_s = 0.06

        async def keep_asking(after_s: float) -> None:
            await asyncio.sleep(after_s)
            while True:
                await uplink.infer(frame(deployment), 5.0)

        others = [asyncio.create_task(keep_asking(0.005 * number)) for number in range(12)]
        await asyncio.sleep(0.1)
        near = [uplink.infer(frame(deployment), 0.03) for _ in range(6)]
        results = await asyncio.gather(*near, return_exceptions=True)
        assert {type(result) for result in results} == {DeadlineError}
        await asyncio.sleep(0.01)
        assert uplink.states()[cloud.address] == "closed"
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def test_a_caller_that_goes_away_leaves_the_uplink_usable(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    async with plain_cloud(store, deployment) as cloud, Uplink([cloud.address], max_calls=1) as uplink:
        cloud.delay_s = 0.05
        tasks = [asyncio.create_task(uplink.infer(frame(deployment, seed), 5.0)) for seed in range(12)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
        assert all(
            isinstance(answer, Answer) and right(answer, 2 * at + 1) for at, answer in enumerate(answers[1::2])
        )
        assert right(await uplink.infer(frame(deployment, 3), 5.0), 3)
