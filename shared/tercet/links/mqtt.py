"""One MQTT 5 connection attempt, and the loop that makes a fresh one after each loss.

paho's own reconnect can publish twice and ignores its in-flight limit, so a client is never reused.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tercet.errors import LinkDownError
from tercet.identifiers import NodeId
from tercet.limits import MAX_FRAME_BYTES
from tercet.links.broker_url import BrokerUrl
from tercet.wire.topics import status_topic

log = logging.getLogger(__name__)

KEEPALIVE_S = 5
CONNECT_TIMEOUT_S = 5.0
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 5.0
# Topic and properties of a publish, beside its frame.
MAX_PACKET_BYTES = MAX_FRAME_BYTES + 65536

ONLINE, OFFLINE = b"online", b"offline"


def new_client(
    broker: BrokerUrl,
    node: NodeId,
    fleet: str,
    *,
    is_node: bool = True,
    max_packet_bytes: int = MAX_PACKET_BYTES,
) -> aiomqtt.Client:
    """A client for one connection attempt.

    Args:
        is_node: whether the broker is to say "offline" for it if it vanishes.
        max_packet_bytes: what the broker may send at most.
    """
    properties = new_properties(PacketTypes.CONNECT)
    properties.MaximumPacketSize = max_packet_bytes
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password,
        tls_params=aiomqtt.TLSParameters() if broker.tls else None,
        identifier=f"{fleet}-{node}",
        protocol=aiomqtt.ProtocolVersion.V5,
        will=aiomqtt.Will(status_topic(fleet, node), OFFLINE, qos=1, retain=True) if is_node else None,
        keepalive=KEEPALIVE_S,
        timeout=CONNECT_TIMEOUT_S,
        properties=properties,
        # aiomqtt logs at ERROR what its exceptions say already.
        logger=logging.getLogger("aiomqtt.client"),
    )


def new_properties(packet_type: int) -> Any:
    """MQTT 5 properties of a packet, none set. Any, because paho sets them as undeclared attributes."""
    # A copy shares the tables of the standard, which paho builds anew for every object it makes.
    return copy.copy(_no_properties(packet_type))


@functools.cache
def _no_properties(packet_type: int) -> Any:
    return Properties(packet_type)  # type: ignore[no-untyped-call]


async def stay_connected(
    broker: BrokerUrl,
    node: NodeId,
    fleet: str,
    serve: Callable[[aiomqtt.Client], Awaitable[None]],
    *,
    retained: Mapping[str, bytes] | None = None,
) -> None:
    """Connect, announce the node, run `serve(client)`; after a loss do it all again, until cancelled.

    Args:
        retained: what to publish by topic at every connection, to be kept by the broker; brokers may forget.

    The first failure and the recovery are logged, not every retry. Errors of `serve` that are not the
    connection's propagate.
    """
    delay_s = RETRY_FIRST_S
    failing = False
    while True:
        try:
            async with new_client(broker, node, fleet) as client:
                await client.publish(status_topic(fleet, node), ONLINE, qos=1, retain=True)
                for topic, payload in (retained or {}).items():
                    await client.publish(topic, payload, qos=1, retain=True)
                log.info("broker connected", extra={"broker": str(broker), "recovered": failing})
                delay_s, failing = RETRY_FIRST_S, False
                await serve(client)
        except aiomqtt.MqttError as error:
            if not failing:
                log.warning("broker lost", extra={"broker": str(broker), "reason": str(error)})
            failing = True
        await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
        delay_s = min(delay_s * 2, RETRY_MOST_S)


async def check_broker(broker: BrokerUrl) -> None:
    """LinkDownError if nothing accepts connections there: says early what a retry loop would only log."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port)
    except OSError as error:
        raise LinkDownError(
            f"no broker at {broker}: {error.strerror or error}; start one with `tercet edge run`"
        ) from error
    writer.close()
