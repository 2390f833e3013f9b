"""An uplink whose cloud goes away without a word, through a relay: noticed, left alone, probed, used again."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.plain_cloud import PlainCloud, plain_cloud
from support.processes import free_port
from support.tiny_model import tiny_boundary, tiny_deployment, tiny_input
from tercet.errors import DeadlineError, LinkDownError, UnavailableError
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay import Relay
from tercet_edge.cloud_link import UNACKNOWLEDGED_MS
from tercet_edge.uplink import Uplink

NOTICED_S = 5.0
SLACK_S = 3.0
HALF_OPEN = [LinkCondition(stalled_up=True), LinkCondition(stalled_down=True)]


@pytest.fixture
def deployed(tmp_path: Path) -> tuple[Store, Deployment]:
    store = Store(tmp_path)
    return store, tiny_deployment(store)


def frame(deployment: Deployment, sequence: int = 0) -> bytes:
    header = pb.FrameHeader(model=deployment.model, plan="raw", boundary=2, node="cam-1", sequence=sequence)
    return Frame.encode(header, {"squeezed": tiny_boundary(tiny_input(), 2)}, "raw").seal()


@asynccontextmanager
async def relayed(deployed: tuple[Store, Deployment]) -> AsyncIterator[tuple[PlainCloud, Relay, Uplink]]:
    async with plain_cloud(*deployed) as cloud:
        port = int(cloud.address.rpartition(":")[2])
        async with (
            Relay("127.0.0.1", port, LinkCondition()) as relay,
            Uplink([f"127.0.0.1:{relay.port}"]) as uplink,
        ):
            yield cloud, relay, uplink


def is_left_alone(uplink: Uplink) -> bool:
    return "closed" not in uplink.states().values()


async def until(done: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not done():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("condition", HALF_OPEN, ids=str)
async def test_a_cloud_that_goes_silent_is_known_to_be_away_before_a_frame_waits_for_it(
    deployed: tuple[Store, Deployment], condition: LinkCondition
) -> None:
    async with relayed(deployed) as (_, relay, uplink):
        await uplink.infer(frame(deployed[1]), 5.0)
        relay.change(condition)
        await until(lambda: is_left_alone(uplink), NOTICED_S + SLACK_S)
        began_s = time.monotonic()
        with pytest.raises(LinkDownError):
            await uplink.infer(frame(deployed[1]), 30.0)
        assert time.monotonic() - began_s < SLACK_S
        relay.change(LinkCondition())
        await until(lambda: not is_left_alone(uplink), 10)
        await uplink.infer(frame(deployed[1]), 5.0)


@pytest.mark.parametrize("condition", HALF_OPEN, ids=str)
async def test_with_calls_under_way_a_silent_cloud_is_noticed_as_soon_and_none_outlives_its_deadline(
    deployed: tuple[Store, Deployment], condition: LinkCondition
) -> None:
    async with relayed(deployed) as (_, relay, uplink):
        await uplink.infer(frame(deployed[1]), 5.0)
        relay.change(condition)
        began_s = time.monotonic()
        waiting = asyncio.create_task(uplink.infer(frame(deployed[1]), 7.0))
        await until(lambda: is_left_alone(uplink), NOTICED_S + SLACK_S)
        with pytest.raises(DeadlineError):
            await waiting
        assert time.monotonic() - began_s < 7.0 + SLACK_S


async def test_a_cloud_that_is_only_busy_is_not_given_up(deployed: tuple[Store, Deployment]) -> None:
    async with relayed(deployed) as (cloud, _, uplink):
        cloud.delay_s = cloud.describe_delay_s = 8.0
        waiting = asyncio.create_task(uplink.infer(frame(deployed[1]), 20.0))
        states = set()
        while not waiting.done():
            states |= set(uplink.states().values())
            await asyncio.sleep(0.1)
        assert (await waiting).refusal is None
        assert states == {"closed"}


async def test_a_connection_that_died_is_replaced_and_not_waited_for(deployed: tuple[Store, Deployment]) -> None:
    """The old connection stays half-open for ever; only new ones work."""
    async with relayed(deployed) as (_, relay, uplink):
        await uplink.infer(frame(deployed[1]), 5.0)
        before = relay.accepted
        stuck = LinkCondition(stalled_up=True, stalled_down=True)
        relay.change(stuck)
        for pipe in list(relay._flowing):
            # What is open now never flows again.
            relay._flowing[pipe] = asyncio.Event()
        relay.change(LinkCondition())
        await until(lambda: relay.accepted > before, NOTICED_S + SLACK_S)
        await until(lambda: not is_left_alone(uplink), 10)
        assert (await uplink.infer(frame(deployed[1]), 5.0)).refusal is None


async def test_second_tries_are_few_however_many_frames_fail(deployed: tuple[Store, Deployment]) -> None:
    """Two clouds of which one resets every connection: a tenth of the frames at most are tried twice."""
    store, deployment = deployed
    frames = 400
    async with plain_cloud(store, deployment) as first, plain_cloud(store, deployment) as second:
        relays = [
            Relay("127.0.0.1", int(cloud.address.rpartition(":")[2]), LinkCondition()) for cloud in (first, second)
        ]
        async with relays[0], relays[1]:
            addresses = [f"127.0.0.1:{relay.port}" for relay in relays]
            async with Uplink(addresses, max_call_frames=1) as uplink:

                async def flap() -> None:
                    while True:
                        for relay in relays:
                            relay.reset()
                        await asyncio.sleep(0.02)

                flapping = asyncio.create_task(flap())
                for number in range(frames):
                    try:
                        await uplink.infer(frame(deployment, number), 2.0)
                    except UnavailableError:
                        await asyncio.sleep(0.01)
                flapping.cancel()
                assert uplink.retried <= 10 + frames // 10
        assert first.frames + second.frames <= frames + uplink.retried


async def test_our_system_gives_up_what_the_other_side_does_not_take(deployed: tuple[Store, Deployment]) -> None:
    async with relayed(deployed) as (_, relay, uplink):
        await uplink.infer(frame(deployed[1]), 5.0)
        assert UNACKNOWLEDGED_MS in user_timeouts(relay.port)


def user_timeouts(port: int) -> set[int]:
    """TCP_USER_TIMEOUT of this process's connections to a port."""
    found = set()
    for entry in list(Path("/proc/self/fd").iterdir()):
        if not entry.is_symlink() or not str(entry.readlink()).startswith("socket:"):
            continue
        with socket.socket(fileno=os.dup(int(entry.name))) as one:
            try:
                if one.family in (socket.AF_INET, socket.AF_INET6) and one.getpeername()[1] == port:
                    found.add(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
            except OSError:
                # Not connected.
                continue
    return found


async def test_a_cloud_that_is_away_at_first_is_found_when_it_comes(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    port = free_port()
    async with Uplink([f"127.0.0.1:{port}"]) as uplink:
        await until(lambda: is_left_alone(uplink), NOTICED_S + SLACK_S)
        async with plain_cloud(store, deployment, port=port):
            await until(lambda: not is_left_alone(uplink), 10)
            assert (await uplink.infer(frame(deployment), 5.0)).refusal is None
