"""Durable frames from a real device over a real broker through a real edge to a store: each once, in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from support.brokers import fresh_embedded
from support.delivery_store import DeliveryStore, delivery_store
from support.durable import durable_device, durable_edge, until
from support.plain_cloud import plain_cloud
from support.processes import free_port
from support.tiny_model import OUTPUT, tiny_boundary, tiny_card, tiny_deployment, tiny_input, tiny_reference
from tercet.durable.dead_letters import DeadLetterBox
from tercet.errors import OverloadedError, SpecError, TensorContractError
from tercet.links.broker_url import BrokerUrl
from tercet.models.store import Store
from tercet.plans import Deployment, Plan
from tercet.v1 import delivery_pb2
from tercet.v1 import frame_pb2 as pb
from tercet_edge.embedded_broker import embedded_broker

Tiny = tuple[Store, Deployment]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    store = Store(tmp_path / "store")
    deployment = tiny_deployment(store)
    tiny_card(store)
    own = Plan(id="device-only", device_until=3, edge_until=3)
    return store, deployment.model_copy(update={"plans": (*deployment.plans, own)})


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


@pytest.fixture
async def cloud() -> AsyncIterator[DeliveryStore]:
    async with delivery_store() as running:
        yield running


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": tiny_input(seed)}


@pytest.mark.parametrize(
    ("plan", "boundary", "tensor"),
    [("raw", 2, "squeezed"), ("edge-only", 3, OUTPUT), ("cloud-only", 0, "x"), ("device-only", 3, OUTPUT)],
)
async def test_a_durable_frame_is_computed_as_its_plan_says_and_stored_once(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path, plan: str, boundary: int, tensor: str
) -> None:
    store, deployment = tiny
    async with (
        durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge") as edge,
        durable_device(broker, deployment, store, tmp_path / "device") as agent,
    ):
        sequence = await agent.deliver(inputs(), deployment.plan(plan))
        await cloud.wait_stored(1)
        await until(lambda: not edge.kept.journal.load().frames)
        (stored,) = cloud.stored.values()
        header = stored.frame.header
        assert (header.node, header.sequence, header.boundary) == ("cam-1", sequence, boundary)
        assert header.delivery == pb.DELIVERY_CLASS_DURABLE
        assert header.deadline_ms == 0
        expected = (
            tiny_reference(tiny_input()) if boundary == 3 else {tensor: tiny_boundary(tiny_input(), boundary)}
        )
        np.testing.assert_allclose(stored.frame.decode()[tensor], expected[tensor], atol=1e-5)
        assert stored.age_source == delivery_pb2.AGE_SOURCE_MONOTONIC
        assert abs(stored.captured_s - time.time()) < 10
        assert agent.durable is not None
        assert agent.durable.kept.journal.counters().acknowledged == 1
        assert edge.kept.journal.counters().acknowledged == 1


async def test_frames_of_several_devices_are_stored_once_and_in_order(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    async with (
        durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge"),
        durable_device(broker, deployment, store, tmp_path / "a", "cam-a") as first,
        durable_device(broker, deployment, store, tmp_path / "b", "cam-b") as second,
    ):
        plan = deployment.plan("int8")
        sequences: dict[str, list[int]] = {"cam-a": [], "cam-b": []}

        async def feed(agent: object, name: str) -> None:
            for seed in range(60):
                sequences[name].append(await agent.deliver(inputs(seed), plan))  # type: ignore[attr-defined]

        await asyncio.gather(feed(first, "cam-a"), feed(second, "cam-b"))
        await cloud.wait_stored(120)
        for name, recorded in sequences.items():
            assert recorded == sorted(recorded)
            assert cloud.of(name) == recorded


async def test_recording_needs_no_broker_and_survives_a_restart(
    tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    port = free_port()
    plan = deployment.plan("raw")
    recorded = []
    for _ in range(2):
        async with durable_device(BrokerUrl("127.0.0.1", port), deployment, store, tmp_path / "device") as agent:
            recorded += [await agent.deliver(inputs(seed), plan) for seed in range(5)]
    assert len(set(recorded)) == 10
    async with (
        embedded_broker("127.0.0.1", port) as broker,
        durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge"),
        durable_device(broker, deployment, store, tmp_path / "device"),
    ):
        await cloud.wait_stored(10)
        assert cloud.of("cam-1") == recorded


async def test_a_broker_that_goes_away_and_comes_back_costs_no_frame(
    tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    port = free_port()
    url = BrokerUrl("127.0.0.1", port)
    plan = deployment.plan("raw")
    async with durable_device(url, deployment, store, tmp_path / "device") as agent:
        async with embedded_broker("127.0.0.1", port):
            edge = durable_edge(url, deployment, store, cloud.address, tmp_path / "edge")
            await edge.__aenter__()
            recorded = [await agent.deliver(inputs(seed), plan) for seed in range(20)]
            await cloud.wait_stored(5)
        recorded += [await agent.deliver(inputs(seed), plan) for seed in range(20)]
        async with embedded_broker("127.0.0.1", port):
            await cloud.wait_stored(40)
            await edge.__aexit__(None, None, None)
    assert cloud.of("cam-1") == recorded


async def test_without_a_cloud_an_edge_keeps_frames_within_its_bounds_and_then_devices_must(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    plan = deployment.plan("cloud-only")
    big = {"x": np.tile(tiny_input(), (4000, 1))}
    async with durable_device(broker, deployment, store, tmp_path / "device", journal_max_mb=2) as agent:
        async with durable_edge(broker, deployment, store, None, tmp_path / "edge", journal_max_mb=1) as edge:
            recorded = [await agent.deliver(big, plan) for _ in range(6)]
            await until(lambda: edge.kept.journal.load().frames == 4)
            while len(recorded) < 4 + 8:
                recorded.append(await agent.deliver(big, plan))
            with pytest.raises(OverloadedError, match="are held"):
                await agent.deliver(big, plan)
            assert edge.kept.journal.load().frames == 4
        async with durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge", journal_max_mb=1):
            await cloud.wait_stored(len(recorded))
    assert cloud.of("cam-1") == recorded


async def test_a_cloud_that_is_away_is_waited_for_and_then_gets_all_once(
    broker: BrokerUrl, tiny: Tiny, tmp_path: Path
) -> None:
    store, deployment = tiny
    port = free_port()
    plan = deployment.plan("raw")
    async with (
        durable_edge(broker, deployment, store, f"127.0.0.1:{port}", tmp_path / "edge") as edge,
        durable_device(broker, deployment, store, tmp_path / "device") as agent,
    ):
        recorded = [await agent.deliver(inputs(seed), plan) for seed in range(10)]
        await until(lambda: edge.kept.journal.load().frames == 10)
        async with delivery_store(port) as cloud:
            await cloud.wait_stored(10)
        recorded += [await agent.deliver(inputs(seed), plan) for seed in range(10)]
        async with delivery_store(port, cloud):
            await cloud.wait_stored(20)
        assert cloud.of("cam-1") == recorded
        assert edge.kept.journal.counters().dead_lettered == 0


async def test_a_lost_receipt_makes_a_duplicate_and_no_second_effect(
    broker: BrokerUrl, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, deployment = tiny
    monkeypatch.setattr("tercet_edge.journal_drain.FIRST_TIMEOUT_S", 1.0)
    async with (
        delivery_store() as cloud,
        durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge") as edge,
        durable_device(broker, deployment, store, tmp_path / "device") as agent,
    ):
        cloud.silent = True
        await agent.deliver(inputs(), deployment.plan("raw"))
        await cloud.wait_stored(1)
        cloud.silent = False
        await until(lambda: not edge.kept.journal.load().frames)
        assert cloud.duplicates >= 1
        assert len(cloud.stored) == 1
        counters = edge.kept.journal.counters()
        assert counters.redelivered >= 1
        assert counters.acknowledged == 1


async def test_a_frame_that_no_tier_can_use_goes_to_the_dead_letters_and_holds_up_no_other(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    plan = deployment.plan("cloud-only")
    poison = {"y": tiny_input()}
    cloud.refuse = lambda frame: TensorContractError("no x") if frame.header.tensors[0].name == "y" else None
    async with (
        durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge") as edge,
        durable_device(broker, deployment, store, tmp_path / "device") as agent,
    ):
        before = await agent.deliver(inputs(), plan)
        await agent.deliver(poison, plan)
        after = [await agent.deliver(inputs(seed), plan) for seed in range(5)]
        await cloud.wait_stored(6)
        await until(lambda: not edge.kept.journal.load().frames)
        assert cloud.of("cam-1") == [before, *after]
        assert edge.kept.journal.load().dead_letters == 1


async def test_a_frame_that_fails_in_its_segment_at_the_edge_goes_to_its_dead_letters(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    misshapen = Plan(id="raw", device_until=0, edge_until=2)
    changed = deployment.model_copy(update={"plans": (misshapen,)})
    async with (
        durable_edge(broker, changed, store, cloud.address, tmp_path / "edge") as edge,
        durable_device(broker, changed, store, tmp_path / "device") as agent,
    ):
        await agent.deliver({"x": np.zeros((1, 99), np.float32)}, misshapen)
        good = [await agent.deliver(inputs(seed), misshapen) for seed in range(3)]
        await cloud.wait_stored(3)
        await until(lambda: not edge.kept.journal.load().frames)
        assert cloud.of("cam-1") == good
        assert edge.kept.journal.load().dead_letters == 1


async def test_a_frame_that_its_edge_refuses_lies_in_the_devices_dead_letters(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    older = deployment.model_copy(update={"plans": deployment.plans[:1]})
    async with (
        durable_edge(broker, older, store, cloud.address, tmp_path / "edge"),
        durable_device(broker, deployment, store, tmp_path / "device") as agent,
    ):
        await agent.deliver(inputs(), deployment.plan("int8"))
        known = await agent.deliver(inputs(), deployment.plan("raw"))
        await cloud.wait_stored(1)
        assert cloud.of("cam-1") == [known]
        assert agent.durable is not None
        journal = agent.durable.kept.journal
        await until(lambda: not journal.load().frames)
        assert journal.load().dead_letters == 1


async def test_an_edge_that_dies_is_replaced_by_another_of_the_same_broker(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    plan = deployment.plan("raw")
    async with durable_device(broker, deployment, store, tmp_path / "device") as agent:
        async with durable_edge(broker, deployment, store, cloud.address, tmp_path / "1", "edge-1"):
            recorded = [await agent.deliver(inputs(seed), plan) for seed in range(5)]
            await cloud.wait_stored(5)
            assert agent.durable is not None
            assert agent.durable.sender.holder == "edge-1"
        async with durable_edge(broker, deployment, store, cloud.address, tmp_path / "2", "edge-2"):
            recorded += [await agent.deliver(inputs(seed), plan) for seed in range(5)]
            await cloud.wait_stored(10)
            assert agent.durable.sender.holder == "edge-2"
    assert cloud.of("cam-1") == recorded


async def test_an_agent_without_an_outbox_says_so(broker: BrokerUrl, tiny: Tiny) -> None:
    from support.fleets import running_device

    store, deployment = tiny
    async with running_device(broker, deployment, store) as agent:
        with pytest.raises(SpecError, match="no outbox"):
            await agent.deliver(inputs(), deployment.plan("raw"))


async def test_a_dead_letter_that_is_retried_goes_on_once_its_cause_is_gone(
    broker: BrokerUrl, tiny: Tiny, cloud: DeliveryStore, tmp_path: Path
) -> None:
    store, deployment = tiny
    older = deployment.model_copy(update={"plans": deployment.plans[:1]})
    async with durable_device(broker, deployment, store, tmp_path / "device") as agent:
        assert agent.durable is not None
        journal = agent.durable.kept.journal
        async with durable_edge(broker, older, store, cloud.address, tmp_path / "edge"):
            sequence = await agent.deliver(inputs(), deployment.plan("int8"))
            await until(lambda: journal.load().dead_letters == 1)
        async with durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge"):
            with DeadLetterBox(journal.path, read_only=False) as box:
                (letter,) = box.letters()
                assert letter.error_kind == "NotFoundError"
                assert box.retry(letter)
            await cloud.wait_stored(1)
    assert cloud.of("cam-1") == [sequence]


async def test_realtime_frames_are_answered_while_an_outbox_drains(
    broker: BrokerUrl, tiny: Tiny, tmp_path: Path
) -> None:
    store, deployment = tiny
    plan = deployment.plan("raw")
    async with (
        plain_cloud(store, deployment) as cloud,
        durable_device(broker, deployment, store, tmp_path / "device") as agent,
    ):
        for seed in range(200):
            await agent.deliver(inputs(seed), plan)
        async with durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge"):
            answers = [await agent.infer(inputs(seed), plan) for seed in range(50)]
            assert agent.durable is not None
            await asyncio.wait_for(agent.durable.wait_delivered(), 15)
    assert not any(answer.refusal or answer.header.route.degraded for answer in answers)
    assert agent.unexpected_answers == 0
