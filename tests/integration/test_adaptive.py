"""Devices and edges that choose by what they measure, over a real broker and an emulated link that changes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import median

import pytest

from support.brokers import fresh_embedded
from support.fleets import running_device, running_edge
from support.tiny_model import INPUT, tiny_deployment, tiny_input
from tercet.errors import SpecError, UnavailableError
from tercet.links.broker_url import BrokerUrl
from tercet.models.store import Store
from tercet.plans import Deployment, Plan, PlanPrediction
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay_process import RelayProcess
from tercet_device.agent import DeviceAgent

QUICK, SLOW = LinkCondition.symmetric(50, 4), LinkCondition.symmetric(1, 300)


def prediction(device_ms: float, edge_ms: float, sent_bytes: float) -> PlanPrediction:
    return PlanPrediction(
        device_ms=device_ms,
        edge_ms=edge_ms,
        cloud_ms=0,
        device_edge_bytes=sent_bytes,
        edge_cloud_bytes=0,
        answer_bytes=100 if sent_bytes else 0,
        agreement=1,
    )


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    plain = tiny_deployment(Store(tmp_path))
    last = 3
    plans = (
        Plan(id="local", device_until=last, edge_until=last, predicted=prediction(60, 0, 0)),
        Plan(id="remote", device_until=0, edge_until=last, predicted=prediction(0, 5, 400)),
    )
    return Deployment(model=plain.model, plans=plans)


async def plans_taken(agent: DeviceAgent, seconds: float) -> list[str]:
    taken, until_s = [], time.monotonic() + seconds
    while time.monotonic() < until_s:
        answer = await agent.infer({INPUT: tiny_input()}, deadline_s=2.0)
        assert answer.refusal is None
        taken.append(answer.header.plan)
        await asyncio.sleep(0.02)
    return taken


async def own_ms(agent: DeviceAgent, plan: Plan) -> float:
    answer = await agent.infer({INPUT: tiny_input()}, plan)
    return answer.header.route.visits[0].total_us / 1000


async def test_a_device_leaves_a_link_that_has_become_slow_and_comes_back(
    tmp_path: Path, deployment: Deployment
) -> None:
    store = Store(tmp_path)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(fresh_embedded())
        await stack.enter_async_context(running_edge(broker, deployment, store, None))
        relay = await stack.enter_async_context(RelayProcess())
        through = BrokerUrl("127.0.0.1", await relay.open("device-edge", broker.port, QUICK))
        # Slow enough, by emulation, that a quick link is worth using; predicted as it then is.
        async with running_device(through, deployment, store, slowdown=1000) as probe:
            times_ms = [await own_ms(probe, deployment.plan("local")) for _ in range(9)]
        local = deployment.plan("local").model_copy(update={"predicted": prediction(median(times_ms), 0, 0)})
        remote = deployment.plan("remote").model_copy(update={"predicted": prediction(0, 1, 400)})
        known = deployment.model_copy(update={"plans": (local, remote)})
        agent = await stack.enter_async_context(running_device(through, known, store, slowdown=1000))
        assert (await plans_taken(agent, 1.0))[-1] == "remote"
        await relay.change("device-edge", SLOW)
        assert (await plans_taken(agent, 2.0))[-1] == "local"
        await relay.change("device-edge", QUICK)
        assert (await plans_taken(agent, 3.0))[-1] == "remote"
        assert agent.switches <= 6
        assert agent.links[0].probes >= 1


async def test_a_queue_at_the_edge_is_told_with_every_answer(tmp_path: Path, deployment: Deployment) -> None:
    store = Store(tmp_path)
    async with (
        fresh_embedded() as broker,
        running_edge(broker, deployment, store, None),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: tiny_input()}, deployment.plan("remote"))
    _, edge = answer.header.route.visits
    assert edge.expected_queue_us == 0
    assert not edge.HasField("uplink")


async def test_a_device_whose_edge_is_gone_answers_by_itself_at_once(
    tmp_path: Path, deployment: Deployment
) -> None:
    store = Store(tmp_path)
    async with fresh_embedded() as broker, running_device(broker, deployment, store, fallback=True) as agent:
        # The broker is there, but no edge: the first frames wait in vain, and then none does.
        taken = []
        for _ in range(8):
            answer = await agent.infer({INPUT: tiny_input()}, deadline_s=0.3)
            taken.append(answer.header.plan)
        assert taken[-1] == "local"


async def test_frames_go_to_the_other_edge_when_one_is_gone(tmp_path: Path, deployment: Deployment) -> None:
    store = Store(tmp_path)
    async with AsyncExitStack() as stack:
        brokers = [await stack.enter_async_context(fresh_embedded()) for _ in range(2)]
        first = AsyncExitStack()
        await first.enter_async_context(running_edge(brokers[0], deployment, store, None, name="edge-1"))
        await stack.enter_async_context(running_edge(brokers[1], deployment, store, None, name="edge-2"))
        agent = await stack.enter_async_context(running_device(brokers[0], deployment, store, also=(brokers[1],)))
        remote = deployment.plan("remote")

        async def served(frames: int) -> list[str]:
            nodes = []
            for _ in range(frames):
                with suppress(UnavailableError):
                    answer = await agent.infer({INPUT: tiny_input()}, remote, deadline_s=0.5)
                    nodes.append(answer.header.route.visits[-1].node)
            return nodes

        async with asyncio.timeout(10):
            while not all(link.online for link in agent.links):
                await asyncio.sleep(0.01)
        assert set(await served(20)) == {"edge-1", "edge-2"}
        await first.aclose()
        await served(6)
        assert await served(6) == ["edge-2"] * 6


async def test_an_edge_takes_the_better_way_onward_and_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plain = tiny_deployment(store)
    far = Plan(
        id="far",
        device_until=1,
        edge_until=2,
        predicted=PlanPrediction(
            device_ms=1,
            edge_ms=1,
            cloud_ms=1,
            device_edge_bytes=400,
            edge_cloud_bytes=400,
            answer_bytes=100,
            agreement=1,
        ),
    )
    near = Plan(id="near", device_until=1, edge_until=3, predicted=prediction(1, 2, 400))
    deployment = Deployment(model=plain.model, plans=(far, near))
    async with (
        fresh_embedded() as broker,
        running_edge(broker, deployment, store, None),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: tiny_input()}, far)
    assert answer.header.plan == "near"
    assert answer.header.route.visits[-1].to_boundary == 3
    assert not answer.header.route.degraded


async def test_choosing_needs_predictions(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployment = tiny_deployment(store)
    async with fresh_embedded() as broker, running_device(broker, deployment, store) as agent:
        with pytest.raises(SpecError, match="tercet plan --table"):
            await agent.infer({INPUT: tiny_input()})


async def test_predictions_that_do_not_hold_are_renewed_and_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plain = tiny_deployment(store)
    plans = (
        Plan(id="local", device_until=3, edge_until=3, predicted=prediction(0.01, 0, 0)),
        Plan(id="remote", device_until=0, edge_until=3, predicted=prediction(0, 60, 400)),
    )
    deployment = Deployment(model=plain.model, plans=plans)
    async with (
        fresh_embedded() as broker,
        running_edge(broker, deployment, store, None),
        running_device(broker, deployment, store) as agent,
    ):
        for _ in range(40):
            await agent.infer({INPUT: tiny_input()})
        # A tiny network still takes far longer than 10 µs with its way through a thread.
        assert agent.renewals >= 1
