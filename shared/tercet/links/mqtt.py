"""One MQTT 5 connection attempt, and the loop that makes a fresh one after each loss.

paho's own reconnect can publish twice and ignores its in-flight limit, so a client is never reused. A half-open
connection is noticed by `heartbeat` here, and by the broker's keepalive there.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from math import inf
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tercet.back_off import BackOff
from tercet.errors import LinkDownError
from tercet.first_to_end import until_first_ends
from tercet.identifiers import NodeId
from tercet.limits import MAX_FRAME_BYTES
from tercet.links.broker_url import BrokerUrl
from tercet.links.heartbeat import Heartbeat
from tercet.links.paho_connection import AttemptingClient, cut
from tercet.wire.topics import status_topic

log = logging.getLogger(__name__)

# A broker gives up a client after one and a half of it. Heartbeats are more frequent.
KEEPALIVE_S = 3
# The embedded broker takes an upload that lasts longer for silence. Who has such ones asks for a longer one.
MOST_KEEPALIVE_S = 600
_KEEPALIVE_GROWTH = 4
CONNECT_TIMEOUT_S = 4.0
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 3.0
# A connection that is lost sooner does not count as one: a broker that drops clients must not be hammered.
STEADY_S = 5.0
_GOODBYE_S = 1.0
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
    keepalive_s: int = KEEPALIVE_S,
) -> aiomqtt.Client:
    """A client for one connection attempt.

    Args:
        is_node: whether the broker is to say "offline" for it if it vanishes.
        max_packet_bytes: what the broker may send at most.
        keepalive_s: the broker ends a connection after one and a half of it without a packet.
    """
    properties = new_properties(PacketTypes.CONNECT)
    properties.MaximumPacketSize = max_packet_bytes
    return AttemptingClient(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password,
        tls_params=aiomqtt.TLSParameters() if broker.tls else None,
        identifier=f"{fleet}-{node}",
        protocol=aiomqtt.ProtocolVersion.V5,
        will=aiomqtt.Will(status_topic(fleet, node), OFFLINE, qos=1, retain=True) if is_node else None,
        keepalive=keepalive_s,
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


Attend = Callable[[aiomqtt.Client], Coroutine[Any, Any, None]]


async def stay_connected(
    broker: BrokerUrl,
    node: NodeId,
    fleet: str,
    serve: Attend,
    *,
    retained: Mapping[str, bytes] | None = None,
    beside: Sequence[Attend] = (),
) -> None:
    """Connect, announce the node, run `serve(client)`; after a loss do it all again, until cancelled.

    Args:
        retained: what to publish by topic at every connection, to be kept by the broker; brokers may forget.
        beside: what else to run on every connection; each until cancelled.

    The first failure and the recovery are logged, not every retry. Errors of `serve` that are not the
    connection's propagate.
    """
    back_off = BackOff(RETRY_FIRST_S, RETRY_MOST_S)
    keepalive_s = KEEPALIVE_S
    met, failing = False, False
    while True:
        client = new_client(broker, node, fleet, keepalive_s=keepalive_s)
        heartbeat: Heartbeat | None = None
        connected_s = inf
        try:
            async with client:
                heartbeat = Heartbeat(client)
                try:
                    await client.publish(status_topic(fleet, node), ONLINE, qos=1, retain=True)
                    _heed_cancellation()
                    log.info("broker connected", extra={"broker": str(broker), "recovered": failing})
                    met, failing, connected_s = True, False, time.monotonic()
                    announcing = _announce(client, retained or {})
                    await until_first_ends(
                        [serve(client), heartbeat.run(), announcing, *(attend(client) for attend in beside)],
                        consequence=aiomqtt.MqttError,
                        # aiomqtt uses asyncio.wait_for, which may swallow a cancellation.
                        insist=True,
                    )
                except asyncio.CancelledError:
                    await _say_goodbye(client, fleet, node)
                    raise
        except aiomqtt.MqttError as error:
            if not failing:
                _log_failure(broker, error, met)
            failing = True
        finally:
            cut(client)
        if time.monotonic() - connected_s >= STEADY_S:
            back_off.reset()
        if heartbeat is not None and heartbeat.was_uploading(keepalive_s / 2):
            keepalive_s = min(MOST_KEEPALIVE_S, keepalive_s * _KEEPALIVE_GROWTH)
            log.warning("broker ended a long upload, asking for more patience", extra={"keepalive_s": keepalive_s})
        _heed_cancellation()
        await asyncio.sleep(back_off.wait_s())


def _heed_cancellation() -> None:
    """Raise what `asyncio.wait_for`, which aiomqtt uses, may have swallowed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _announce(client: aiomqtt.Client, retained: Mapping[str, bytes]) -> None:
    """Publish what the broker is to keep, however long a slow link takes for it; then wait to be cancelled."""
    for topic, payload in dict(retained).items():
        await client.publish(topic, payload, qos=1, retain=True, timeout=inf)
    await asyncio.Event().wait()


async def _say_goodbye(client: aiomqtt.Client, fleet: str, node: NodeId) -> None:
    """Leaving on purpose: the last will is for those who vanish."""
    try:
        await client.publish(status_topic(fleet, node), OFFLINE, retain=True, timeout=_GOODBYE_S)
    except aiomqtt.MqttError as error:
        log.debug("left without a word", extra={"reason": str(error)})


def _log_failure(broker: BrokerUrl, error: Exception, met: bool) -> None:
    if met:
        log.warning("broker lost", extra={"broker": str(broker), "reason": str(error)})
    else:
        hint = "start one with `tercet edge run`, or see that --broker-url is right; trying on"
        log.warning("broker not reached", extra={"broker": str(broker), "reason": str(error), "hint": hint})


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
