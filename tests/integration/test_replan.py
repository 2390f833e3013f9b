"""A device whose predictions do not hold gets another plan table, over a real broker and the real cloud host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from support.block_costs import tiny_costs
from support.brokers import fresh_embedded
from support.fleets import running_device, running_edge
from support.plain_cloud import plain_cloud
from support.tiny_model import INPUT, OUTPUT, tiny_deployment, tiny_input, tiny_reference
from tercet.adaptive.prediction_watch import PredictionWatch
from tercet.identifiers import NodeId
from tercet.models.store import Store
from tercet.plans import Deployment, Plan
from tercet_device.agent import DeviceAgent
from tercet_device.generation import open_generation
from tercet_device.kept_table import TABLE_FILE, TableFile
from tercet_device.settings import DeviceSettings

# Emulation: the device takes so many times longer than it does.
SLOWDOWN = 300


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.add_block_costs(tiny_costs(tiny_deployment(store).model))
    return store


@pytest.fixture
def deployment(store: Store) -> Deployment:
    """Keeps all on the device, as if it were quick."""
    costs = tiny_costs(tiny_deployment(store).model)
    plan = costs.plan(3, 3, "raw", "raw")
    assert plan is not None
    return Deployment(model=costs.model, plans=(plan.model_copy(update={"id": "local"}),))


def watch_closely(agent: DeviceAgent) -> None:
    agent.watch = PredictionWatch(window=5)
    assert agent.replanner is not None
    agent.replanner.every_s = 0.2


async def frames_until_renewal(agent: DeviceAgent) -> set[str]:
    """The plans of frames until predictions are renewed."""
    return set(await infer_until(agent, lambda: agent.renewals > 0))


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.01)


async def until_failed(agent: DeviceAgent) -> None:
    await until(lambda: agent.replan_failures > 0)


async def infer_until(agent: DeviceAgent, done: Callable[[], bool], *, frames: int = 200) -> list[str]:
    """The plans of the frames until `done`; every answer is checked."""
    taken = []
    for number in range(frames):
        answer = await agent.infer({INPUT: tiny_input(number)}, deadline_s=5.0)
        np.testing.assert_allclose(
            answer.outputs()[OUTPUT], tiny_reference(tiny_input(number))[OUTPUT], rtol=0.1, atol=0.1
        )
        taken.append(answer.header.plan)
        if done():
            break
        await asyncio.sleep(0.01)
    return taken


async def test_a_slowed_device_gets_another_table_and_takes_a_plan_that_was_not_deployed(
    store: Store, deployment: Deployment
) -> None:
    async with (
        fresh_embedded() as broker,
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store, slowdown=SLOWDOWN) as agent,
    ):
        watch_closely(agent)
        assert await frames_until_renewal(agent) == {"local"}
        await until(lambda: agent.replans > 0)
        taken = await infer_until(agent, lambda: False, frames=10)
        assert agent.replan_failures == 0
        assert taken[-1].startswith("r-")
        assert agent.plans_in_use()[taken[-1]] == 1


async def test_without_a_cloud_or_block_costs_it_goes_on_with_what_it_has_and_counts(
    tmp_path: Path, store: Store, deployment: Deployment
) -> None:
    bare = Store(tmp_path / "bare")
    tiny_deployment(bare)
    for cloud_store in (None, bare):
        async with AsyncExitStack() as stack:
            broker = await stack.enter_async_context(fresh_embedded())
            address = None
            if cloud_store is not None:
                address = (await stack.enter_async_context(plain_cloud(cloud_store, deployment))).address
            await stack.enter_async_context(running_edge(broker, deployment, store, address))
            agent = await stack.enter_async_context(running_device(broker, deployment, store, slowdown=SLOWDOWN))
            watch_closely(agent)
            assert await frames_until_renewal(agent) == {"local"}
            await until_failed(agent)
            assert agent.replans == 0
            answer = await agent.infer({INPUT: tiny_input()})
            assert answer.header.plan == "local"


async def test_a_frame_whose_new_plan_a_tier_refuses_is_answered_by_a_deployed_one(
    store: Store, deployment: Deployment
) -> None:
    async with (
        fresh_embedded() as broker,
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store, slowdown=SLOWDOWN) as agent,
    ):
        watch_closely(agent)
        assert agent.replanner is not None
        agent.replanner.every_s = 60.0
        await frames_until_renewal(agent)
        await until(lambda: agent.replans > 0)
        # The segments that the table counts on go away before the edge has loaded any.
        manifest = store.manifest(deployment.model)
        for segment in manifest.segments:
            store.segment_path(segment.sha256).unlink()
        assert await infer_until(agent, lambda: False, frames=3) == ["local"] * 3
        assert agent.replan_failures == 1


async def test_the_device_answers_alone_when_the_edge_goes_away_under_a_new_plan(
    store: Store, deployment: Deployment
) -> None:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(fresh_embedded())
        beyond = AsyncExitStack()
        cloud = await beyond.enter_async_context(plain_cloud(store, deployment))
        await beyond.enter_async_context(running_edge(broker, deployment, store, cloud.address))
        agent = await stack.enter_async_context(
            running_device(broker, deployment, store, slowdown=SLOWDOWN, fallback=True)
        )
        watch_closely(agent)
        await frames_until_renewal(agent)
        await until(lambda: agent.replans > 0)
        await beyond.aclose()
        answer = await agent.infer({INPUT: tiny_input()}, deadline_s=0.3)
        assert answer.header.plan.startswith("r-")
        assert answer.header.route.degraded
        np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(tiny_input())[OUTPUT], rtol=1e-4)


async def test_a_table_that_was_taken_is_used_after_a_restart_with_nobody_there(
    tmp_path: Path, store: Store, deployment: Deployment
) -> None:
    tables = TableFile(tmp_path / "state")
    async with (
        fresh_embedded() as broker,
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store, slowdown=SLOWDOWN) as agent,
    ):
        watch_closely(agent)
        assert agent.replanner is not None
        agent.replanner.keep = lambda table: tables.keep(deployment, table)
        await frames_until_renewal(agent)
        await until(lambda: agent.replans > 0 and tables.table_for(deployment) is not None)
        taken = set(agent.plans_in_use())
    settings = DeviceSettings(node=NodeId("cam-1"), deployment=tmp_path / "unread.yaml", store=store.root)

    def plans(of: Deployment) -> set[str]:
        return set(open_generation(settings, None, tables, [of]).agent.plans_in_use())

    assert plans(deployment) == taken != {"local"}
    # Under another deployment it says nothing.
    other = deployment.model_copy(
        update={"plans": tuple(plan.model_copy(update={"id": "other"}) for plan in deployment.plans)}
    )
    assert plans(other) == {"other"}
    # Nor when it is damaged, or of no use any more.
    kept = (tmp_path / "state" / TABLE_FILE).read_bytes()
    (tmp_path / "state" / TABLE_FILE).write_bytes(kept[:-1])
    assert plans(deployment) == {"local"}
    foreign = tables.table_for(deployment) or other
    tables.keep(deployment, foreign.model_copy(update={"plans": tuple(impossible(plan) for plan in other.plans)}))
    assert plans(deployment) == {"local"}
    tables.keep(deployment, None)
    assert not (tmp_path / "state" / TABLE_FILE).exists()


def impossible(plan: Plan) -> Plan:
    return plan.model_copy(update={"device_until": 90, "edge_until": 91})
