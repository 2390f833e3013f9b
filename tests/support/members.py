"""A node that stays connected to a broker through a relay, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt

from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import stay_connected
from tercet_cloud.emulation.relay import Relay

FLEET = "test"
NODE = NodeId("cam-1")


class Member:
    """A node that stays connected through a relay and notes when it has a connection."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.lost = asyncio.Event()
        self.client: aiomqtt.Client | None = None
        self.connections = 0

    async def serve(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.connections += 1
        self.lost.clear()
        self.connected.set()
        try:
            async for _ in client.messages:
                pass
        finally:
            self.connected.clear()
            self.lost.set()


@asynccontextmanager
async def member(relay: Relay) -> AsyncIterator[Member]:
    one = Member()
    link = asyncio.create_task(stay_connected(BrokerUrl("127.0.0.1", relay.port), NODE, FLEET, one.serve))
    try:
        async with asyncio.timeout(10):
            await one.connected.wait()
        yield one
    finally:
        link.cancel()
        await asyncio.wait([link])
