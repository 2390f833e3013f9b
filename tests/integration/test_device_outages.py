"""A device whose broker or edge goes away answers itself at once, sends nothing twice, and comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from support.brokers import fresh_embedded
from support.fleets import FLEET, EdgeOptions, open_tiny, running_device, running_edge
from support.plain_cloud import plain_cloud
from support.processes import free_port
from support.tiny_model import INPUT, OUTPUT, tiny_deployment, tiny_input, tiny_reference
from tercet.errors import UnavailableError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_client
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.tiers import Tier
from tercet.wire.messages import Answer, Frame
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay import Relay
from tercet_device.agent import DeviceAgent
from tercet_edge.embedded_broker import embedded_broker

Tiny = tuple[Store, Deployment]
# Frames that waited for their deadlines would take many times this.
AT_ONCE_S = 5.0


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    store = Store(tmp_path / "store")
    return store, tiny_deployment(store)


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


def new_agent(tiny: Tiny, *, fallback: bool, deadline_s: float = 60.0) -> DeviceAgent:
    model = open_tiny(tiny[1], tiny[0], Tier.DEVICE)
    return DeviceAgent(NodeId("cam-1"), FLEET, model, deadline_s=deadline_s, fallback=fallback)


async def ask(agent: DeviceAgent, seed: int = 0) -> Answer:
    return await agent.infer({INPUT: tiny_input(seed)}, agent.model.deployment.plan("raw"))


async def test_a_device_without_a_broker_answers_by_itself_at_once(tiny: Tiny) -> None:
    agent = new_agent(tiny, fallback=True)
    async with agent.connected(BrokerUrl("127.0.0.1", free_port())):
        began_s = time.monotonic()
        answers = [await ask(agent, seed) for seed in range(50)]
        assert time.monotonic() - began_s < AT_ONCE_S
    assert all(answer.header.route.degraded for answer in answers)
    assert "no connection to the broker" in answers[-1].header.route.reason
    np.testing.assert_allclose(answers[7].outputs()[OUTPUT], tiny_reference(tiny_input(7))[OUTPUT], atol=1e-5)


async def test_a_device_that_cannot_answer_by_itself_waits_for_its_broker(tiny: Tiny) -> None:
    port = free_port()
    agent = new_agent(tiny, fallback=False)
    async with agent.connected(BrokerUrl("127.0.0.1", port)):
        asked = asyncio.create_task(ask(agent))
        await asyncio.sleep(1.0)
        assert not asked.done()
        async with (
            embedded_broker("127.0.0.1", port) as broker,
            running_edge(broker, tiny[1], tiny[0], None, EdgeOptions(fallback=True)),
        ):
            # It may have been published before the edge listened.
            again = asyncio.create_task(ask(agent))
            async with asyncio.timeout(20):
                await again
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
    assert (await again).refusal is None


async def test_an_edge_that_left_a_living_broker_is_used_again_when_it_is_back(
    broker: BrokerUrl, tiny: Tiny
) -> None:
    store, deployment = tiny
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(plain_cloud(store, deployment))
        agent = await stack.enter_async_context(
            running_device(broker, deployment, store, fallback=True, deadline_s=0.4)
        )
        async with running_edge(broker, deployment, store, cloud.address):
            assert not (await ask(agent)).header.route.degraded
        for _ in range(3):
            assert (await ask(agent)).header.route.degraded
        began_s = time.monotonic()
        for _ in range(20):
            assert "left alone" in (await ask(agent)).header.route.reason
        assert time.monotonic() - began_s < AT_ONCE_S
        await stack.enter_async_context(running_edge(broker, deployment, store, cloud.address))
        degraded = 0
        async with asyncio.timeout(20):
            while (await ask(agent)).header.route.degraded:
                degraded += 1
                await asyncio.sleep(0.05)
        # It was found by a probe: no frame after that is degraded.
        assert not any([(await ask(agent)).header.route.degraded for _ in range(10)])


async def test_a_realtime_frame_is_published_at_most_once_whatever_resets_come(
    broker: BrokerUrl, tiny: Tiny
) -> None:
    store, deployment = tiny
    published: Counter[int] = Counter()
    async with (
        Relay("127.0.0.1", broker.port, LinkCondition.symmetric(20, 4)) as relay,
        new_client(broker, NodeId("observer"), FLEET, is_node=False) as observer,
        running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)),
        running_device(
            BrokerUrl("127.0.0.1", relay.port), deployment, store, fallback=True, deadline_s=1.0
        ) as agent,
    ):
        await observer.subscribe(f"tercet/v1/{FLEET}/cam-1/infer")

        async def count() -> None:
            async for message in observer.messages:
                header = Frame.open(message.payload).header
                if not header.probe:
                    published[header.sequence] += 1

        async def reset() -> None:
            while True:
                await asyncio.sleep(0.15)
                relay.reset()

        tasks = [asyncio.create_task(count()), asyncio.create_task(reset())]
        frames = 0
        until_s = time.monotonic() + 6
        while time.monotonic() < until_s:
            batch = await asyncio.gather(*(ask(agent, seed) for seed in range(8)), return_exceptions=True)
            frames += len(batch)
            # Answered by somebody, each of them.
            assert all(isinstance(one, (Answer, UnavailableError)) for one in batch)
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert relay.accepted > 3
    assert published
    assert len(published) <= frames
    assert set(published.values()) == {1}
