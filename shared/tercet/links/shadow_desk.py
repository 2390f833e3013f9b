"""An operator's side of desired and reported: publishes what is wanted of a node, collects what a fleet says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from math import inf

import aiomqtt

from tercet.errors import DeadlineError, LinkDownError, OverloadedError, WireFormatError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.retained import observer, retained_messages
from tercet.plans import Deployment
from tercet.shadows.documents import MAX_SHADOW_BYTES, Desired, Reported, open_shadow, seal_shadow
from tercet.wire.topics import desired_filter, desired_topic, device_of, reported_filter, reported_topic

log = logging.getLogger(__name__)

MAX_NODES = 100_000
_PACKET_BYTES = MAX_SHADOW_BYTES + 65536
_PUBLISH_S = 30.0


@dataclass
class NodeState:
    """What a broker holds of one node."""

    desired: Desired | None = None
    reported: Reported | None = None

    @property
    def summary(self) -> str:
        """In a word: how desired and reported stand to each other."""
        wanted = self.desired.version if self.desired else 0
        if self.reported is None:
            return "silent"
        if wanted > self.reported.version:
            return "waiting"
        if self.reported.status == "refused":
            return "refused"
        return "older wanted" if self.desired and wanted < self.reported.running else "applied"


@dataclass
class FleetState:
    """By node; and by topic why other messages were left out."""

    nodes: dict[NodeId, NodeState] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def take(self, message: aiomqtt.Message) -> None:
        """One message on a desired or reported topic."""
        topic = str(message.topic)
        try:
            state = self.nodes.setdefault(device_of(topic), NodeState())
            if topic.endswith("/desired"):
                state.desired = open_shadow(Desired, message.payload, topic)
            else:
                state.reported = open_shadow(Reported, message.payload, topic)
        except WireFormatError as error:
            self.refused[topic] = str(error)
        if len(self.nodes) + len(self.refused) > MAX_NODES:
            raise OverloadedError(f"over {MAX_NODES:,} nodes in one fleet: look at nodes one by one")


async def collect_states(
    broker: BrokerUrl, fleet: str, node: NodeId | None = None, *, quiet_s: float = 1.0
) -> FleetState:
    """What the broker holds of a fleet, or of one node. Raises LinkDownError, OverloadedError."""
    filters = (
        [desired_filter(fleet), reported_filter(fleet)]
        if node is None
        else [desired_topic(fleet, node), reported_topic(fleet, node)]
    )
    found = FleetState()
    try:
        async with observer(broker, fleet, _PACKET_BYTES) as client:
            async for message in retained_messages(client, filters, quiet_s=quiet_s):
                found.take(message)
    except aiomqtt.MqttError as error:
        raise LinkDownError(f"nothing is known of fleet {fleet} from {broker}: {error}") from error
    return found


async def publish_desired(
    broker: BrokerUrl,
    fleet: str,
    node: NodeId,
    deployments: Sequence[Deployment],
    version: int | None = None,
    *,
    quiet_s: float = 1.0,
) -> Desired:
    """Have the broker keep what is wanted of a node; returns it.

    Args:
        version: None: one more than the highest that the broker knows of, desired or reported.
    Raises:
        LinkDownError: the broker is away, or did not say that it has it.
        FrameTooLargeError: it is too much.
    """
    if version is None:
        known = (await collect_states(broker, fleet, node, quiet_s=quiet_s)).nodes.get(node, NodeState())
        wanted = known.desired.version if known.desired else 0
        version = 1 + max(wanted, known.reported.version if known.reported else 0)
    desired = Desired(version=version, deployments=tuple(deployments))
    payload = seal_shadow(desired)
    try:
        async with observer(broker, fleet, _PACKET_BYTES) as client:
            await client.publish(desired_topic(fleet, node), payload, qos=1, retain=True, timeout=_PUBLISH_S)
    except aiomqtt.MqttError as error:
        raise LinkDownError(f"{broker} did not take what is wanted of {node}: {error}") from error
    return desired


async def wait_reported(broker: BrokerUrl, fleet: str, node: NodeId, version: int, *, timeout_s: float) -> Reported:
    """What a node reports of a version, or of a later one. DeadlineError if it does not in time; LinkDownError."""
    try:
        async with observer(broker, fleet, _PACKET_BYTES) as client, asyncio.timeout(timeout_s):
            messages = retained_messages(client, [reported_topic(fleet, node)], quiet_s=inf, timeout_s=inf)
            async with aclosing(messages):
                async for message in messages:
                    try:
                        reported = open_shadow(Reported, message.payload, str(message.topic))
                    except WireFormatError as error:
                        log.warning("report not understood", extra={"reason": str(error)})
                        continue
                    if reported.version >= version:
                        return reported
    except aiomqtt.MqttError as error:
        raise LinkDownError(f"nothing is known of {node} from {broker}: {error}") from error
    except TimeoutError as error:
        raise DeadlineError(
            f"{node} has not reported version {version} within {timeout_s:g} s; it takes it when it is back: "
            "see `tercet desired show`"
        ) from error
    raise LinkDownError(f"{broker} went away")
