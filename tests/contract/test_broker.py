"""What Tercet asks of a broker, held against the embedded one and against Mosquitto where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes

from support import members
from support.brokers import MOSQUITTO, fresh_embedded, fresh_mosquitto
from tercet.identifiers import NodeId
from tercet.limits import MAX_FRAME_BYTES
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import OFFLINE, ONLINE, new_client, new_properties
from tercet.wire.topics import answer_topic, infer_topic, shared_infer_filter, status_topic
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay import Relay

FLEET = "contract"
WAIT_S = 20.0
# For a machine that is busy with other things.
SLACK_S = 3.0


@pytest.fixture(params=["embedded", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BrokerUrl]:
    if request.param == "embedded":
        async with fresh_embedded() as url:
            yield url
    elif MOSQUITTO is None:
        pytest.skip("no mosquitto binary on this machine: the suite ran on the embedded broker only")
    else:
        async with fresh_mosquitto(tmp_path) as url:
            yield url


def client_of(broker: BrokerUrl, name: str) -> aiomqtt.Client:
    return new_client(broker, NodeId(name), FLEET)


async def next_message(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(WAIT_S):
        return await anext(aiter(client.messages))


async def test_response_topic_correlation_data_and_user_properties_arrive(broker: BrokerUrl) -> None:
    device = NodeId("cam-1")
    async with client_of(broker, "edge") as edge, client_of(broker, device) as sender:
        await edge.subscribe(shared_infer_filter(FLEET))
        properties = new_properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = answer_topic(FLEET, device)
        properties.CorrelationData = bytes(range(16))
        properties.UserProperty = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        await sender.publish(infer_topic(FLEET, device), b"frame", properties=properties)
        message = await next_message(edge)
    assert message.payload == b"frame"
    received = message.properties
    assert received is not None
    assert received.ResponseTopic == answer_topic(FLEET, device)  # type: ignore[attr-defined]
    assert received.CorrelationData == bytes(range(16))  # type: ignore[attr-defined]
    assert dict(received.UserProperty)["traceparent"].startswith("00-")  # type: ignore[attr-defined]


async def test_a_shared_subscription_gives_each_frame_to_exactly_one_edge(broker: BrokerUrl) -> None:
    frames = [str(number).encode() for number in range(40)]
    received: dict[str, list[bytes]] = {"edge-1": [], "edge-2": []}
    everything = asyncio.Event()

    async def collect(name: str, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            received[name].append(bytes(message.payload))
            if sum(map(len, received.values())) >= len(frames):
                everything.set()

    async with (
        client_of(broker, "edge-1") as first,
        client_of(broker, "edge-2") as second,
        client_of(broker, "cam-1") as sender,
    ):
        for edge in (first, second):
            await edge.subscribe(shared_infer_filter(FLEET), qos=1)
        readers = [
            asyncio.create_task(collect(name, client)) for name, client in (("edge-1", first), ("edge-2", second))
        ]
        for frame in frames:
            await sender.publish(infer_topic(FLEET, NodeId("cam-1")), frame, qos=1)
        async with asyncio.timeout(WAIT_S):
            await everything.wait()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert sorted(received["edge-1"] + received["edge-2"], key=int) == frames
    assert received["edge-1"]
    assert received["edge-2"]


async def test_a_retained_status_reaches_a_later_subscriber(broker: BrokerUrl) -> None:
    topic = status_topic(FLEET, NodeId("cam-1"))
    async with client_of(broker, "cam-1") as device:
        await device.publish(topic, ONLINE, qos=1, retain=True)
    async with client_of(broker, "edge") as edge:
        await edge.subscribe(topic, qos=1)
        message = await next_message(edge)
    assert message.payload == ONLINE


async def test_a_device_that_vanishes_is_announced_by_its_last_will(broker: BrokerUrl) -> None:
    topic = status_topic(FLEET, NodeId("cam-1"))
    async with client_of(broker, "edge") as edge:
        await edge.subscribe(topic, qos=1)
        try:
            async with client_of(broker, "cam-1") as device:
                await device.publish(topic, ONLINE, qos=1, retain=True)
                assert (await next_message(edge)).payload == ONLINE
                # As a power cut would: the connection goes without a DISCONNECT.
                device._client._sock_close()
                assert (await next_message(edge)).payload == OFFLINE
        except aiomqtt.MqttError:
            pass


async def test_the_largest_frame_passes_whole(broker: BrokerUrl) -> None:
    frame = bytes(1024) * (MAX_FRAME_BYTES // 1024)
    async with client_of(broker, "edge") as edge, client_of(broker, "cam-1") as device:
        await edge.subscribe(shared_infer_filter(FLEET))
        await device.publish(infer_topic(FLEET, NodeId("cam-1")), frame, timeout=WAIT_S)
        message = await next_message(edge)
    assert len(message.payload) == len(frame)


async def test_a_burst_of_frames_arrives_whole_and_in_order(broker: BrokerUrl) -> None:
    # rumqttd 0.4 repeats one message of a burst to a shared subscription: at most once more is what we rely on.
    count = 500
    async with client_of(broker, "edge") as edge, client_of(broker, "cam-1") as device:
        await edge.subscribe(shared_infer_filter(FLEET))
        for number in range(count):
            await device.publish(infer_topic(FLEET, NodeId("cam-1")), str(number).encode())
        async with asyncio.timeout(WAIT_S):
            messages = aiter(edge.messages)
            received: list[int] = []
            while len(set(received)) < count:
                received.append(int(bytes((await anext(messages)).payload)))
    assert list(dict.fromkeys(received)) == list(range(count))
    assert len(received) <= 2 * count


async def test_the_broker_says_offline_of_a_node_that_it_does_not_hear_and_online_when_it_is_back(
    broker: BrokerUrl,
) -> None:
    async with (
        Relay("127.0.0.1", broker.port, LinkCondition()) as relay,
        new_client(broker, NodeId("observer"), members.FLEET, is_node=False) as observer,
    ):
        await observer.subscribe(status_topic(members.FLEET, members.NODE), qos=1)
        messages = aiter(observer.messages)
        async with members.member(relay):
            assert (await anext(messages)).payload == ONLINE
            relay.change(LinkCondition(stalled_up=True, stalled_down=True))
            async with asyncio.timeout(7 + SLACK_S):
                assert (await anext(messages)).payload == OFFLINE
            relay.change(LinkCondition())
            async with asyncio.timeout(15):
                while (await anext(messages)).payload != ONLINE:
                    pass
        # And when it leaves on purpose.
        async with asyncio.timeout(5):
            assert (await anext(messages)).payload == OFFLINE


async def test_a_frame_that_takes_longer_than_the_brokers_keepalive_gets_through_in_the_end(
    broker: BrokerUrl,
) -> None:
    """The embedded broker takes a long upload for silence, until it is asked for more patience."""
    frame = bytes(range(256)) * 12_000
    async with (
        Relay("127.0.0.1", broker.port, LinkCondition(up_mbps=4)) as relay,
        new_client(broker, NodeId("edge"), members.FLEET) as receiver,
        members.member(relay) as one,
    ):
        await receiver.subscribe("large")
        arrived = asyncio.create_task(anext(aiter(receiver.messages)))
        async with asyncio.timeout(60):
            while not arrived.done():
                await one.connected.wait()
                assert one.client is not None
                await one.client.publish("large", frame)
                await asyncio.wait(
                    {arrived, lost := asyncio.create_task(one.lost.wait())}, return_when=asyncio.FIRST_COMPLETED
                )
                lost.cancel()
        assert (await arrived).payload == frame
        assert one.connections <= 2
