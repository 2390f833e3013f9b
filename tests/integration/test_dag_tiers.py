"""Nodes of pipelines on edges and devices, over a real broker: steps, models cut and whole, tiers that are away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import dag_steps
from support.brokers import fresh_embedded
from support.fleets import FLEET, running_edge
from support.plain_cloud import plain_cloud
from support.tiny_model import INPUT, OUTPUT, tiny_card, tiny_deployment, tiny_input, tiny_reference
from tercet.documents import write_document
from tercet.errors import ContractError, DeadlineError, LinkDownError, SpecError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.models.store import Store
from tercet.steps.step_host import StepHost
from tercet.steps.step_message import StepFailedError
from tercet.steps.step_port import StepPort
from tercet.tiers import Tier
from tercet_cloud.dag.call import Call, Circumstances, Means, make_call
from tercet_cloud.dag.graph import place_of
from tercet_cloud.dag.outcomes import WHOLE
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.dag.step_places import StepPlaces


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


@pytest.fixture
def places() -> Iterator[StepPlaces]:
    held = StepPlaces()
    yield held
    held.close()


@asynccontextmanager
async def step_host(
    broker: BrokerUrl, store: Path, node: str, tier: Tier, *allowed: str
) -> AsyncIterator[StepPort]:
    port = StepPort(StepHost(Store(store), allowed), NodeId(node), FLEET, tier)
    serving = asyncio.create_task(port.serve(broker))
    try:
        yield port
    finally:
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


def call_of(means: Means, **fields: Any) -> Call:
    pipeline = Pipeline(name="p", inputs={"x": "any"}).node("n", **fields)
    node = pipeline.nodes["n"]
    return make_call(pipeline, "n", place_of(node.tier, node.at, split=node.deployment is not None), means)


async def run(places: StepPlaces, call: Call, time_left_s: float = 10.0, **arguments: Any) -> Any:
    return await asyncio.to_thread(places.run, call, arguments, _circumstances(time_left_s))


def _circumstances(time_left_s: float, name: str = "r/0/-1/1") -> Circumstances:
    return Circumstances("r", WHOLE, 1, (), 0.0, time_left_s, name)


async def until_answered(places: StepPlaces, call: Call, **arguments: Any) -> Any:
    """As `run`, once the other side listens."""
    for _ in range(100):
        try:
            return await run(places, call, 1.0, **arguments)
        except (LinkDownError, DeadlineError):
            await asyncio.sleep(0.1)
    raise AssertionError("nobody answers")


async def test_a_step_runs_on_the_node_that_is_named_and_on_any_edge(
    broker: BrokerUrl, places: StepPlaces, tmp_path: Path
) -> None:
    means = Means(tmp_path, broker=str(broker), fleet=FLEET)
    named = call_of(means, call=dag_steps.told, tier="device", at="cam-1", options={"x": 3})
    edge = call_of(means, builtin="filter", tier="edge", options={"where": "item > 1"})
    async with (
        step_host(broker, tmp_path, "cam-1", Tier.DEVICE, "support.dag_steps:*"),
        step_host(broker, tmp_path, "edge-1", Tier.EDGE),
    ):
        assert await until_answered(places, named) == "r/n 1"
        assert await until_answered(places, edge, items=[1, 2, 3]) == [2, 3]
        echoed = call_of(means, call=dag_steps.anything, tier="device", at="cam-1")
        parts = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": b"\x00\xff", "c": {"d": [1, 2.5, None, "é"]}}
        answer = await run(places, echoed, **parts)
        np.testing.assert_array_equal(answer["a"], parts["a"])
        assert (answer["b"], answer["c"]) == (parts["b"], parts["c"])


async def test_a_function_that_was_not_allowed_does_not_run_and_one_that_raises_says_so(
    broker: BrokerUrl, places: StepPlaces, tmp_path: Path
) -> None:
    means = Means(tmp_path, broker=str(broker), fleet=FLEET)
    async with step_host(broker, tmp_path, "cam-1", Tier.DEVICE, "support.dag_steps:fails"):
        allowed = call_of(means, call=dag_steps.fails, tier="device", at="cam-1")
        with pytest.raises(StepFailedError, match="RuntimeError: no 4"):
            await until_answered(places, allowed, x=4)
        other = call_of(means, call="os:getpid", tier="device", at="cam-1")
        with pytest.raises(ContractError, match="os:getpid may not run here"):
            await run(places, other)


async def test_a_node_that_is_away_is_said_to_be_away_at_once(
    broker: BrokerUrl, places: StepPlaces, tmp_path: Path
) -> None:
    means = Means(tmp_path, broker=str(broker), fleet=FLEET)
    never = call_of(means, call=dag_steps.told, tier="device", at="cam-9")
    with pytest.raises(LinkDownError, match=r"cam-9\.steps is not connected"):
        await run(places, never, 30.0)
    nobody = call_of(means, builtin="join", tier="edge")
    with pytest.raises(DeadlineError, match="nobody answered"):
        await run(places, nobody, 0.5)
    unnamed = call_of(Means(tmp_path), builtin="join", tier="edge")
    with pytest.raises(LinkDownError, match="give --broker-url"):
        await run(places, unnamed)


async def test_what_was_asked_of_nobody_is_given_up_at_once_and_nothing_else_is(
    broker: BrokerUrl, places: StepPlaces, tmp_path: Path
) -> None:
    nobody = call_of(Means(tmp_path, broker=str(broker), fleet=FLEET), builtin="join", tier="edge")
    begun_s = time.monotonic()
    asking = {
        name: asyncio.create_task(asyncio.to_thread(places.run, nobody, {}, _circumstances(time_left_s, name)))
        for name, time_left_s in (("given-up", 60.0), ("other", 2.0))
    }
    # Given up again and again: it may not have asked yet.
    while not asking["given-up"].done():
        assert time.monotonic() < begun_s + 30
        places.give_up("given-up")
        await asyncio.sleep(0.05)
    with pytest.raises(DeadlineError, match="is not wanted any more"):
        await asking["given-up"]
    with pytest.raises(DeadlineError, match="nobody answered"):
        await asking["other"]


async def test_without_a_broker_the_time_of_a_call_bounds_the_wait_for_one(
    places: StepPlaces, tmp_path: Path
) -> None:
    means = Means(tmp_path, broker="mqtt://127.0.0.1:1", fleet=FLEET)
    for where in ({"tier": "edge"}, {"tier": "edge", "at": "edge-1"}):
        begun_s = time.monotonic()
        with pytest.raises(LinkDownError, match="no broker"):
            await run(places, call_of(means, builtin="join", **where), 0.3)
        assert time.monotonic() < begun_s + 5


async def test_a_cut_model_runs_by_edge_and_cloud_and_equals_the_uncut_one(
    broker: BrokerUrl, places: StepPlaces, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    deployment = tiny_deployment(store)
    tiny_card(store)
    file = tmp_path / "deployment.yaml"
    write_document(deployment, file)
    x = tiny_input()
    reference = tiny_reference(x)[OUTPUT]
    async with plain_cloud(store, deployment) as cloud, running_edge(broker, deployment, store, cloud.address):
        means = Means(store.root, cloud=cloud.address, broker=str(broker), fleet=FLEET)
        for fields in ({"plan": "raw"}, {"plan": "raw", "tier": "cloud"}, {"plan": "cloud-only", "tier": "cloud"}):
            call = call_of(means, model=deployment.model, deployment=file, **fields)
            answer = await until_answered(places, call, **{INPUT: x})
            np.testing.assert_allclose(answer[OUTPUT], reference, atol=1e-5)


async def test_a_cut_model_whose_cloud_is_away_says_so(places: StepPlaces, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    deployment = tiny_deployment(store)
    file = tmp_path / "deployment.yaml"
    write_document(deployment, file)
    call = call_of(Means(store.root), model=deployment.model, deployment=file, tier="cloud")
    with pytest.raises(LinkDownError, match="give --cloud HOST:PORT"):
        await run(places, call, **{INPUT: tiny_input()})
    away = Means(store.root, cloud="127.0.0.1:9")
    with pytest.raises(LinkDownError, match="cannot be reached: UNAVAILABLE"):
        await run(
            StepPlaces(),
            call_of(away, model=deployment.model, deployment=file, tier="cloud"),
            **{INPUT: tiny_input()},
        )


async def test_a_whole_model_runs_on_any_tier(broker: BrokerUrl, places: StepPlaces, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    tiny_card(store)
    x = tiny_input()
    means = Means(store.root, broker=str(broker), fleet=FLEET)
    here = await run(places, call_of(means, model="tiny"), **{INPUT: x})
    async with step_host(broker, store.root, "edge-1", Tier.EDGE):
        there = await until_answered(places, call_of(means, model="tiny", tier="edge"), **{INPUT: x})
    np.testing.assert_array_equal(here["hidden"], there["hidden"])


def test_a_cut_model_goes_to_no_node_by_name() -> None:
    with pytest.raises(SpecError, match="leave out `at`"):
        Pipeline(name="p").node("n", model="tiny@0123", deployment="d.yaml", tier="edge", at="edge-1")
