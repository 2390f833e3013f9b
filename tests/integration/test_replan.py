"""A device whose predictions do not hold gets another plan table, over a real broker and the real cloud host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from support.block_costs import tiny_costs
from support.brokers import fresh_embedded
from support.fleets import running_device, running_edge
from support.plain_cloud import plain_cloud
from support.tiny_model import INPUT, OUTPUT, tiny_deployment, tiny_input, tiny_reference
from tercet.adaptive.prediction_watch import PredictionWatch
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet_device.agent import DeviceAgent

# Emulation: the device takes so many times longer than it does.
SLOWDOWN = 600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.add_block_costs(tiny_costs(tiny_deployment(store).model))
    return store


@pytest.fixture
def deployment(store: Store) -> Deployment:
    """Keeps all on the device, as if it were quick."""
    (costs,) = [tiny_costs(tiny_deployment(store).model)]
    plan = costs.plan(3, 3, "raw", "raw")
    assert plan is not None
    return Deployment(model=costs.model, plans=(plan.model_copy(update={"id": "local"}),))


def watch_closely(agent: DeviceAgent) -> None:
    agent.watch = PredictionWatch(window=5)
    assert agent.replanner is not None
    agent.replanner.every_s = 0.2


async def infer_until(agent: DeviceAgent, done: object, *, frames: int = 400) -> list[str]:
    assert callable(done)
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
        assert set(await infer_until(agent, lambda: agent.replans > 0)) == {"local"}
        taken = await infer_until(agent, lambda: False, frames=10)
        assert agent.replan_failures == 0
        assert taken[-1].startswith("r-")
        assert agent.plans_in_use()[taken[-1]] == 1
