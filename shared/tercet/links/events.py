"""Changes of keys over the broker: told by whoever made them, heard by whoever acts on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiomqtt

from tercet.errors import LinkDownError, TercetError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_client, stay_connected
from tercet.steps.step_message import open_event, seal_event
from tercet.wire.topics import event_filter, event_topic

log = logging.getLogger(__name__)


async def publish_events(broker: BrokerUrl, fleet: str, node: NodeId, events: Mapping[str, Any]) -> None:
    """Tell that these keys hold these values; returns when the broker has them. LinkDownError without one."""
    sealed = [seal_event(key, value) for key, value in events.items()]
    try:
        async with new_client(broker, node, fleet, is_node=False) as client:
            for one in sealed:
                await client.publish(event_topic(fleet, node), one, qos=1)
    except aiomqtt.MqttError as error:
        raise LinkDownError(f"no broker at {broker}: {error}") from error


async def hear_events(broker: BrokerUrl, fleet: str, node: NodeId, heard: Callable[[str, Any], object]) -> None:
    """Call `heard` with every key and value of the fleet, over as many connections as it takes, until cancelled.

    What is published while there is no connection is not heard.
    """

    async def receive(client: aiomqtt.Client) -> None:
        await client.subscribe(event_filter(fleet), qos=1)
        async for message in client.messages:
            try:
                heard(*open_event(bytes(message.payload)))
            except TercetError as error:
                log.warning("an event that is none", extra={"topic": str(message.topic), "reason": str(error)})

    await stay_connected(broker, node, fleet, receive)
