"""Connections to a real broker through a relay that makes trouble: noticed, given up, made anew, nothing twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import aiomqtt
import pytest

from support.brokers import fresh_embedded
from support.members import FLEET, NODE, Member, member
from tercet.identifiers import NodeId
from tercet.links import mqtt
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_client, stay_connected
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay import Relay

# The promise is five seconds; the rest is for a machine that is busy with other things.
NOTICED_S = 5.0
SLACK_S = 3.0


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


@pytest.mark.parametrize(
    "condition",
    [
        LinkCondition(stalled_up=True),
        LinkCondition(stalled_down=True),
        LinkCondition(stalled_up=True, stalled_down=True),
    ],
    ids=str,
)
async def test_a_half_open_connection_is_given_up_within_five_seconds_and_made_anew(
    broker: BrokerUrl, condition: LinkCondition
) -> None:
    async with Relay("127.0.0.1", broker.port, LinkCondition()) as relay, member(relay) as one:
        await asyncio.sleep(1.5)
        relay.change(condition)
        async with asyncio.timeout(NOTICED_S + SLACK_S):
            await one.lost.wait()
        relay.change(LinkCondition())
        async with asyncio.timeout(15):
            await one.connected.wait()
        assert one.connections == 2


async def test_an_idle_connection_stays(broker: BrokerUrl) -> None:
    async with Relay("127.0.0.1", broker.port, LinkCondition()) as relay, member(relay) as one:
        await asyncio.sleep(8)
        assert one.connections == 1


async def test_a_broker_that_drops_its_clients_is_not_hammered() -> None:
    attempts: list[float] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(time.monotonic())
        # A CONNACK, and then the end.
        await reader.read(256)
        writer.write(b"\x20\x03\x00\x00\x00")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    async with server:
        url = BrokerUrl("127.0.0.1", server.sockets[0].getsockname()[1])
        link = asyncio.create_task(stay_connected(url, NODE, FLEET, Member().serve))
        await asyncio.sleep(6)
        link.cancel()
        await asyncio.wait([link])
    # Doubling from 0.1 s; without it there would be a hundred.
    assert 3 <= len(attempts) <= 12


async def test_after_a_connection_that_lasted_the_first_attempt_comes_soon(
    broker: BrokerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "STEADY_S", 0.5)
    async with Relay("127.0.0.1", broker.port, LinkCondition()) as relay, member(relay) as one:
        for number in range(2, 6):
            await asyncio.sleep(0.6)
            relay.reset()
            async with asyncio.timeout(10):
                while one.connections < number:
                    await asyncio.sleep(0.01)
        # Four losses would otherwise have led to waits of about a second.
        began_s = time.monotonic()
        await asyncio.sleep(0.6)
        relay.reset()
        while one.connections < 6:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began_s < 0.6 + SLACK_S


async def test_a_message_is_published_at_most_once_whatever_resets_come(
    broker: BrokerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "STEADY_S", 0.0)
    async with (
        Relay("127.0.0.1", broker.port, LinkCondition.symmetric(50, 4)) as relay,
        new_client(broker, NodeId("observer"), FLEET, is_node=False) as observer,
        member(relay) as one,
    ):
        await observer.subscribe("counted/+")
        received: Counter[bytes] = Counter()
        arrived = asyncio.Event()

        async def count() -> None:
            async for message in observer.messages:
                received[bytes(message.payload[:8])] += 1
                arrived.set()

        counting = asyncio.create_task(count())
        sent = 0
        for _ in range(12):
            async with asyncio.timeout(15):
                await one.connected.wait()
            arrived.clear()
            for _ in range(20):
                sent += 1
                try:
                    assert one.client is not None
                    # Large enough that a reset finds it half-way.
                    await one.client.publish("counted/x", sent.to_bytes(8, "big") + bytes(20_000), timeout=0.2)
                except aiomqtt.MqttError:
                    break
            # A reset with the first of them across and others on their way, however fast the writes were.
            async with asyncio.timeout(15):
                await arrived.wait()
            relay.reset()
            await one.lost.wait()
        await asyncio.sleep(0.5)
        counting.cancel()
        await asyncio.wait([counting])
    assert 0 < len(received) < sent
    assert set(received.values()) == {1}


async def test_a_connection_that_is_closed_before_it_is_accepted_has_failed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT_S", 3600.0)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = mqtt.new_client(BrokerUrl("127.0.0.1", port), NodeId("cam-1"), "default")
        async with asyncio.timeout(30):
            with pytest.raises(aiomqtt.MqttError, match="closed before it was accepted"):
                await client.__aenter__()
