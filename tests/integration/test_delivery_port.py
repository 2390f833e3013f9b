"""What devices, honest or not, may say to an edge about durable frames: hostile input costs only itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes

from support.brokers import fresh_embedded
from support.durable import DurableEdge, durable_edge
from support.fleets import FLEET
from support.tiny_model import tiny_boundary, tiny_deployment, tiny_input
from tercet.durable.receipts import parse_response
from tercet.errors import ContractError, NotFoundError, OverloadedError, TercetError, WireFormatError
from tercet.identifiers import NodeId
from tercet.limits import MAX_CALL_FRAMES
from tercet.links.mqtt import new_client, new_properties
from tercet.models.store import Store
from tercet.v1 import delivery_pb2 as pb
from tercet.v1 import frame_pb2
from tercet.wire.messages import Frame, error_from_detail
from tercet.wire.topics import ack_topic, custody_topic, deliver_topic

CAM = NodeId("cam-1")
TAKEN, DUPLICATE, REFUSED = (
    pb.DELIVERY_OUTCOME_TAKEN,
    pb.DELIVERY_OUTCOME_DUPLICATE,
    pb.DELIVERY_OUTCOME_REFUSED,
)


@dataclass
class Talk:
    """A client of the broker that says what it likes, beside a real edge without a cloud."""

    client: aiomqtt.Client
    edge: DurableEdge
    model: str

    def frame(self, number: int = 1, **changes: object) -> bytes:
        header = frame_pb2.FrameHeader(
            model=self.model,
            plan="raw",
            boundary=1,
            node=CAM,
            sequence=number,
            delivery=frame_pb2.DELIVERY_CLASS_DURABLE,
        )
        for name, value in changes.items():
            setattr(header, name, value)
        return Frame.encode(header, {"hidden": tiny_boundary(tiny_input(number), 1)}, "raw").seal()

    async def say(self, payload: bytes, topic: str, reply_to: str | None) -> None:
        properties = new_properties(PacketTypes.PUBLISH)
        if reply_to is not None:
            properties.ResponseTopic = reply_to
        await self.client.publish(topic, payload, properties=properties)

    async def deliver(
        self, *frames: bytes, topic: str | None = None, age_ms: int = 0, sent_unix_us: int = 7
    ) -> pb.DeliverResponse:
        """The receipt for frames that were said to be cam-1's."""
        request = pb.DeliverRequest(
            deliveries=[
                pb.Delivery(frame=frame, age_ms=age_ms, age_source=pb.AGE_SOURCE_MONOTONIC) for frame in frames
            ],
            sent_unix_us=sent_unix_us,
        )
        await self.say(request.SerializeToString(), topic or deliver_topic(FLEET, CAM), ack_topic(FLEET, CAM))
        async with asyncio.timeout(10):
            return parse_response((await anext(aiter(self.client.messages))).payload)

    @property
    def held(self) -> int:
        return self.edge.kept.journal.load().frames


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    store = Store(tmp_path / "store")
    deployment = tiny_deployment(store)
    async with (
        fresh_embedded() as broker,
        durable_edge(broker, deployment, store, None, tmp_path / "edge") as edge,
        new_client(broker, CAM, FLEET) as client,
    ):
        await client.subscribe(ack_topic(FLEET, CAM))
        yield Talk(client, edge, deployment.model)


def outcomes(response: pb.DeliverResponse) -> list[int]:
    return [receipt.outcome for receipt in response.receipts]


def refusals(response: pb.DeliverResponse) -> list[type[TercetError]]:
    return [type(error_from_detail(receipt.error)) for receipt in response.receipts if receipt.HasField("error")]


async def test_a_receipt_names_each_frame_its_holder_and_both_times(talk: Talk) -> None:
    response = await talk.deliver(talk.frame(1), talk.frame(2), sent_unix_us=12345)
    assert outcomes(response) == [TAKEN, TAKEN]
    assert [(receipt.node, receipt.sequence) for receipt in response.receipts] == [(CAM, 1), (CAM, 2)]
    assert response.holder == "edge-1"
    assert response.sent_unix_us == 12345
    assert response.answered_unix_us > 0
    assert talk.held == 2


async def test_frames_that_come_again_are_duplicates_on_either_topic(talk: Talk) -> None:
    assert outcomes(await talk.deliver(talk.frame())) == [TAKEN]
    assert outcomes(await talk.deliver(talk.frame(), topic=custody_topic(FLEET, NodeId("edge-1")))) == [DUPLICATE]
    assert talk.held == 1


async def test_a_message_without_frames_gets_a_receipt_to_compare_clocks_by(talk: Talk) -> None:
    response = await talk.deliver(sent_unix_us=99)
    assert (len(response.receipts), response.sent_unix_us, response.holder) == (0, 99, "edge-1")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"delivery": frame_pb2.DELIVERY_CLASS_REALTIME}, ContractError),
        ({"delivery": frame_pb2.DELIVERY_CLASS_UNSPECIFIED}, ContractError),
        ({"probe": True}, ContractError),
        ({"cascade": "some@0123456789ab"}, ContractError),
        ({"node": "cam-2"}, ContractError),
        ({"node": ""}, ContractError),
        ({"sequence": 0}, ContractError),
        ({"sequence": 1 << 53}, ContractError),
        ({"model": "other@0123456789ab"}, NotFoundError),
        ({"plan": "other"}, NotFoundError),
        ({"boundary": 2}, ContractError),
    ],
)
async def test_what_is_no_durable_frame_of_this_device_is_refused_and_others_are_taken(
    talk: Talk, changes: dict[str, object], error: type[TercetError]
) -> None:
    response = await talk.deliver(talk.frame(1), talk.frame(2, **changes), talk.frame(3))
    assert outcomes(response) == [TAKEN, REFUSED, TAKEN]
    assert refusals(response) == [error]
    assert talk.held == 2


async def test_a_frame_that_differs_from_an_earlier_one_is_refused(talk: Talk) -> None:
    frame = Frame.open(talk.frame())
    frame.header.tensors[0].codec = "delta:30+int8"
    assert refusals(await talk.deliver(frame.seal())) == [ContractError]


async def test_garbled_frames_are_refused_without_a_name(talk: Talk) -> None:
    sealed = talk.frame()
    response = await talk.deliver(b"", b"noise", sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed)
    assert refusals(response) == [WireFormatError] * 4
    assert [(receipt.node, receipt.sequence) for receipt in response.receipts[:4]] == [("", 0)] * 4
    assert outcomes(response)[4] == TAKEN


async def test_an_age_without_sense_counts_as_unknown(talk: Talk) -> None:
    assert outcomes(await talk.deliver(talk.frame(), age_ms=2**63)) == [TAKEN]
    (entry,) = await talk.edge.kept.journal.pending(0, 10, 1 << 20)
    age_ms, source = talk.edge.kept.clock.age(entry.captured)
    assert source == "unknown"
    assert age_ms < 60_000


async def test_messages_that_no_receipt_can_answer_are_passed_over(talk: Talk) -> None:
    topic = deliver_topic(FLEET, CAM)
    good = pb.DeliverRequest(deliveries=[pb.Delivery(frame=talk.frame())])
    many = pb.DeliverRequest(deliveries=[pb.Delivery(frame=b"")] * (MAX_CALL_FRAMES + 1))
    payload, own = good.SerializeToString(), ack_topic(FLEET, CAM)
    for message in (
        (payload, topic, None),
        (payload, topic, ack_topic(FLEET, NodeId("cam-2"))),
        (payload, topic, ack_topic("elsewhere", CAM)),
        (payload, topic, topic),
        (payload, topic, "a/b/c/d/ack"),
        (payload, f"tercet/v1/{FLEET}/cam-2/deliver", own),
        (b"\xff\xff noise", topic, own),
        (many.SerializeToString(), topic, own),
    ):
        await talk.say(*message)
    assert outcomes(await talk.deliver(talk.frame(9))) == [TAKEN]
    assert talk.held == 1


async def test_nobody_has_frames_acknowledged_to_anybody_else(talk: Talk) -> None:
    """Custody's topic names no device: the frames and the receipts' topic must agree."""
    request = pb.DeliverRequest(deliveries=[pb.Delivery(frame=talk.frame())])
    topic = custody_topic(FLEET, NodeId("edge-1"))
    other = ack_topic(FLEET, NodeId("cam-2"))
    await talk.client.subscribe(other)
    await talk.say(request.SerializeToString(), topic, other)
    async with asyncio.timeout(10):
        message = await anext(aiter(talk.client.messages))
    assert str(message.topic) == other
    assert outcomes(parse_response(message.payload)) == [REFUSED]
    assert talk.held == 0


async def test_an_edge_that_shuts_down_says_so(talk: Talk) -> None:
    assert outcomes(await talk.deliver(talk.frame(1))) == [TAKEN]
    await talk.edge.deliveries.drain(5.0)
    assert refusals(await talk.deliver(talk.frame(2))) == [OverloadedError]
    assert talk.held == 1
