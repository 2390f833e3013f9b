"""Device and edge over a real broker, with the real ModelHost behind gRPC: answers, refusals, fallbacks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from paho.mqtt.packettypes import PacketTypes

from support import wide_model
from support.brokers import fresh_embedded
from support.fleets import FLEET, EdgeOptions, running_device, running_edge
from support.plain_cloud import PlainCloud, plain_cloud
from support.processes import free_port
from support.tiny_model import INPUT, OUTPUT, tiny_boundary, tiny_card, tiny_deployment, tiny_input, tiny_reference
from support.wide_model import wide_deployment
from tercet.codecs import calibrate
from tercet.codecs.transform_fit import fit_transform
from tercet.errors import (
    ContractError,
    DeadlineError,
    FrameTooLargeError,
    LinkDownError,
    NotFoundError,
    OverloadedError,
    WireFormatError,
)
from tercet.frame_record import VisitRecord
from tercet.identifiers import NodeId
from tercet.limits import MAX_TENSOR_BYTES
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_client, new_properties
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.topics import answer_topic, infer_topic

Tiny = tuple[Store, Deployment]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    store = Store(tmp_path / "store")
    deployment = tiny_deployment(store)
    tiny_card(store)
    return store, deployment


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


@pytest.fixture
async def cloud(tiny: Tiny) -> AsyncIterator[PlainCloud]:
    async with plain_cloud(*tiny) as running:
        yield running


def tiers_of(answer: Answer) -> list[str]:
    records = [VisitRecord.from_wire(visit) for visit in answer.header.route.visits]
    return [f"{record.tier} {record.from_boundary}→{record.to_boundary}" for record in records if record]


@pytest.mark.parametrize(("plan", "tolerance"), [("raw", 1e-5), ("fp16", 2e-2), ("int8", 0.2)])
async def test_a_frame_crosses_three_tiers_and_equals_the_uncut_model(
    broker: BrokerUrl, tiny: Tiny, cloud: PlainCloud, plan: str, tolerance: float
) -> None:
    store, deployment = tiny
    x = tiny_input()
    async with (
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: x}, deployment.plan(plan))
    np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], atol=tolerance)
    assert tiers_of(answer) == ["device 0→1", "edge 1→2", "cloud 2→3"]
    assert not answer.header.route.degraded
    device, edge, cloud_visit = answer.header.route.visits
    assert device.total_us >= device.beyond_us >= edge.total_us >= edge.beyond_us >= cloud_visit.total_us
    assert edge.received_bytes > 0
    assert cloud_visit.received_bytes > 0


@pytest.mark.parametrize(
    ("plan", "tiers"),
    [("edge-only", ["device 0→1", "edge 1→3"]), ("cloud-only", ["device 0→0", "edge 0→0", "cloud 0→3"])],
)
async def test_a_tier_without_segments_passes_the_frame_on(
    broker: BrokerUrl, tiny: Tiny, cloud: PlainCloud, plan: str, tiers: list[str]
) -> None:
    store, deployment = tiny
    x = tiny_input(3)
    async with (
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: x}, deployment.plan(plan))
    np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], atol=1e-5)
    assert tiers_of(answer) == tiers


async def test_many_frames_under_way_at_once_each_get_their_own_answer(
    broker: BrokerUrl, tiny: Tiny, cloud: PlainCloud
) -> None:
    store, deployment = tiny
    inputs = [tiny_input(seed) for seed in range(40)]
    async with (
        running_edge(broker, deployment, store, cloud.address) as port,
        running_device(broker, deployment, store) as first,
        running_device(broker, deployment, store, name="cam-2") as second,
    ):
        answers = await asyncio.gather(
            *(
                (first, second)[number % 2].infer({INPUT: x}, deployment.plan("raw"))
                for number, x in enumerate(inputs)
            )
        )
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], atol=1e-5)
    assert port.answered == len(inputs)


async def test_without_a_cloud_the_edge_answers_and_says_so(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    x = tiny_input()
    nobody = f"127.0.0.1:{free_port()}"
    async with (
        running_edge(broker, deployment, store, nobody, EdgeOptions(fallback=True)),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: x}, deployment.plan("raw"))
    np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], atol=1e-5)
    assert answer.header.route.degraded
    assert "LinkDownError" in answer.header.route.reason
    assert tiers_of(answer) == ["device 0→1", "edge 1→3"]


async def test_a_cloud_that_takes_calls_and_never_answers_does_not_hang_the_edge(
    broker: BrokerUrl, tiny: Tiny
) -> None:
    store, deployment = tiny
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        address = f"127.0.0.1:{black_hole.getsockname()[1]}"
        async with (
            running_edge(broker, deployment, store, address, EdgeOptions(fallback=True, uplink_timeout_s=0.3)),
            running_device(broker, deployment, store) as agent,
        ):
            answer = await agent.infer({INPUT: tiny_input()}, deployment.plan("raw"))
    assert answer.refusal is None
    assert answer.header.route.degraded
    assert "DeadlineError" in answer.header.route.reason


async def test_without_cloud_and_fallback_the_refusal_says_why(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    async with (
        running_edge(broker, deployment, store, None),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: tiny_input()}, deployment.plan("raw"))
    with pytest.raises(LinkDownError, match="no cloud"):
        answer.outputs()


async def test_without_an_edge_the_device_answers_itself_and_says_so(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    x = tiny_input()
    async with running_device(broker, deployment, store, fallback=True, deadline_s=0.3) as agent:
        answer = await agent.infer({INPUT: x}, deployment.plan("int8"))
    np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], atol=1e-5)
    assert answer.header.route.degraded
    assert tiers_of(answer) == ["device 0→3"]


async def test_without_edge_and_fallback_the_deadline_ends_the_wait(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    async with running_device(broker, deployment, store, deadline_s=0.3) as agent:
        with pytest.raises(DeadlineError, match="did not answer within"):
            await agent.infer({INPUT: tiny_input()}, deployment.plan("raw"))


async def test_after_a_broker_restart_frames_go_the_planned_way_again(tiny: Tiny, cloud: PlainCloud) -> None:
    from tercet_edge.embedded_broker import embedded_broker

    store, deployment = tiny
    port = free_port()
    async with embedded_broker("127.0.0.1", port) as broker:
        edge = running_edge(broker, deployment, store, cloud.address)
        device = running_device(broker, deployment, store, fallback=True, deadline_s=2.0)
        edge_port, agent = await edge.__aenter__(), await device.__aenter__()
    try:
        while agent.online:
            await asyncio.sleep(0.01)
        alone = await agent.infer({INPUT: tiny_input()}, deployment.plan("raw"))
        assert alone.header.route.degraded
        async with embedded_broker("127.0.0.1", port):
            async with asyncio.timeout(20):
                while not (agent.online and edge_port.online):
                    await asyncio.sleep(0.01)
            again = await agent.infer({INPUT: tiny_input()}, deployment.plan("raw"))
            assert not again.header.route.degraded
    finally:
        await device.__aexit__(None, None, None)
        await edge.__aexit__(None, None, None)


async def ask_raw(broker: BrokerUrl, payload: bytes, reply_to: str | None = None) -> Answer:
    """Publish any bytes as a device would; the answer to them."""
    device = NodeId("rogue")
    async with new_client(broker, device, FLEET) as client:
        await client.subscribe(answer_topic(FLEET, device))
        properties = new_properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = reply_to or answer_topic(FLEET, device)
        properties.CorrelationData = b"1"
        await client.publish(infer_topic(FLEET, device), payload, properties=properties)
        async with asyncio.timeout(5):
            message = await anext(aiter(client.messages))
    return Answer.open(message.payload)


def sealed_frame(deployment: Deployment, **changes: object) -> bytes:
    fields: dict[str, object] = {"model": deployment.model, "plan": "raw", "boundary": 1, "node": "rogue"}
    header = pb.FrameHeader(**{**fields, **changes})  # type: ignore[arg-type]
    return Frame.encode(header, {"hidden": np.zeros((1, 32), np.float32)}, "raw").seal()


Change = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda sealed: sealed[:-5], WireFormatError),
        (lambda sealed: sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:], WireFormatError),
        (lambda sealed: b"hello", WireFormatError),
        (lambda sealed: b"", WireFormatError),
    ],
)
async def test_a_damaged_frame_costs_its_sender_an_error_and_nobody_else_anything(
    broker: BrokerUrl, tiny: Tiny, cloud: PlainCloud, damage: Change, error: type[Exception]
) -> None:
    store, deployment = tiny
    async with (
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store) as agent,
    ):
        refused = await ask_raw(broker, damage(sealed_frame(deployment)))
        assert isinstance(refused.refusal, error)
        answer = await agent.infer({INPUT: tiny_input()}, deployment.plan("raw"))
    assert answer.refusal is None


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"model": "lenet@0123456789ab"}, NotFoundError, "does not serve 'lenet@0123456789ab'"),
        ({"plan": "warp"}, NotFoundError, "plan 'warp'"),
        ({"boundary": 2}, ContractError, "reaches the edge at boundary 1"),
        ({"boundary": 99}, ContractError, "at 99"),
    ],
)
async def test_a_frame_for_something_else_is_refused_by_name(
    broker: BrokerUrl, tiny: Tiny, changes: dict[str, object], error: type[Exception], says: str
) -> None:
    store, deployment = tiny
    async with running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)):
        answer = await ask_raw(broker, sealed_frame(deployment, **changes))
    with pytest.raises(error, match=says):
        answer.outputs()


async def test_an_edge_answers_a_device_only_on_the_devices_own_topic(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    victim = NodeId("cam-9")
    async with (
        running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)) as port,
        new_client(broker, victim, FLEET) as eavesdropper,
    ):
        await eavesdropper.subscribe(answer_topic(FLEET, victim))
        with pytest.raises(TimeoutError):
            await ask_raw(broker, sealed_frame(deployment), reply_to=answer_topic(FLEET, victim))
        assert port.unanswerable == 1
        assert len(eavesdropper.messages) == 0


async def test_a_full_edge_refuses_at_once_and_says_when_to_come_back(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    async with running_edge(broker, deployment, store, None, EdgeOptions(fallback=True, max_bytes=10)):
        answer = await ask_raw(broker, sealed_frame(deployment))
    refusal = answer.refusal
    assert isinstance(refusal, OverloadedError)
    assert refusal.retry_after_s


async def test_a_device_of_another_plan_table_is_told_so(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    other = Plan(id="raw", device_until=2, edge_until=2)
    async with (
        running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: tiny_input()}, other)
    with pytest.raises(ContractError, match="another one"):
        answer.outputs()


async def test_the_largest_frame_passes_every_hop_and_a_larger_one_is_refused_by_its_limit(
    broker: BrokerUrl, tmp_path: Path
) -> None:
    store = Store(tmp_path / "wide")
    width = MAX_TENSOR_BYTES // 4
    deployment = wide_deployment(store, width)
    x = np.zeros((1, width), np.float32)
    x[0, -1] = 7
    async with (
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address, EdgeOptions(uplink_timeout_s=60)),
        running_device(broker, deployment, store, deadline_s=60) as agent,
    ):
        answer = await agent.infer({wide_model.INPUT: x}, deployment.plan("raw"))
    assert answer.outputs()[wide_model.OUTPUT].item() == 7
    assert [visit.received_bytes > MAX_TENSOR_BYTES for visit in answer.header.route.visits] == [False, True, True]

    larger = wide_deployment(store, width + 1)
    async with running_device(broker, larger, store) as agent:
        with pytest.raises(FrameTooLargeError, match="64 MiB"):
            await agent.infer({wide_model.INPUT: np.zeros((1, width + 1), np.float32)}, larger.plan("raw"))


async def test_codecs_with_a_calibration_of_the_store_cross_every_link(broker: BrokerUrl, tiny: Tiny) -> None:
    store, deployment = tiny
    samples = [tiny_input(seed) for seed in range(40, 80)]

    def calibrated(boundary: int, tensor: str) -> tuple[str, str]:
        """Digests of ranges and of a transform of one boundary."""
        arrays = [tiny_boundary(sample, boundary) for sample in samples]
        ranges = calibrate(arrays, tensor=tensor)
        return store.add_calibration(ranges), store.add_calibration(fit_transform(arrays, tensor=tensor))

    (near_ranges, near_transform), (far_ranges, far_transform) = calibrated(1, "hidden"), calibrated(2, "squeezed")
    codecs = {
        "ranges": LinkCodecs(device_edge=f"int8:static@{near_ranges}+zstd", edge_cloud=f"int8:static@{far_ranges}"),
        "transform": LinkCodecs(
            device_edge=f"klt:40:static@{near_transform}", edge_cloud=f"klt:40:static@{far_transform}"
        ),
    }
    plans = tuple(Plan(id=name, device_until=1, edge_until=2, codecs=chosen) for name, chosen in codecs.items())
    static = Deployment(model=deployment.model, plans=plans)
    x = samples[3]
    async with (
        plain_cloud(store, static) as cloud,
        running_edge(broker, static, store, cloud.address),
        running_device(broker, static, store) as agent,
    ):
        answers = {plan.id: await agent.infer({INPUT: x}, plan) for plan in plans}
    for answer in answers.values():
        np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], atol=0.2)
        assert tiers_of(answer) == ["device 0→1", "edge 1→2", "cloud 2→3"]
