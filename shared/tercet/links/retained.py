"""What a broker holds: all retained messages of some filters."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from math import isfinite

import aiomqtt

from tercet.errors import LinkDownError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_client


def observer(broker: BrokerUrl, fleet: str, max_packet_bytes: int) -> aiomqtt.Client:
    """A client of somebody who is no node, under a name that nobody else has."""
    name = NodeId(f"observer-{secrets.token_hex(4)}")
    return new_client(broker, name, fleet, is_node=False, max_packet_bytes=max_packet_bytes)


async def retained_messages(
    client: aiomqtt.Client, filters: Sequence[str], *, quiet_s: float, timeout_s: float = 60.0
) -> AsyncGenerator[aiomqtt.Message, None]:
    """Messages on `filters`, those that the broker holds first.

    Args:
        client: connected.
        quiet_s: done when nothing more has come for so long.
        timeout_s: done then at the latest.
    Raises:
        LinkDownError: the broker goes away.
    """
    try:
        for one in filters:
            await client.subscribe(one, qos=1)
        messages = aiter(client.messages)
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while (left_s := min(quiet_s, end_s - loop.time())) > 0:
            try:
                async with asyncio.timeout(left_s if isfinite(left_s) else None):
                    message = await anext(messages)
            except TimeoutError:
                return
            yield message
    except aiomqtt.MqttError as error:
        raise LinkDownError(f"the broker went away: {error}") from error
