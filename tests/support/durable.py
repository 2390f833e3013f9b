"""Devices and edges that keep durable frames, in this process, over a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.fleets import FLEET, ONLINE_S, open_tiny
from tercet.durable.keeping import Keeping, keeping
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import stay_connected
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.tiers import Tier
from tercet_device.agent import DeviceAgent
from tercet_device.durable_frames import OUTBOX_FILE, DurableFrames
from tercet_device.settings import DeviceSettings
from tercet_edge.batch_queue import BatchQueue
from tercet_edge.delivery_port import DeliveryPort
from tercet_edge.device_port import DevicePort
from tercet_edge.durable_tier import JOURNAL_FILE, durable_tier
from tercet_edge.intake import Intake
from tercet_edge.micro_batch import MicroBatcher, Work
from tercet_edge.node import EdgeNode
from tercet_edge.settings import EdgeSettings
from tercet_edge.uplink import Uplink

MAX_BATCH = 8


@dataclass(frozen=True)
class DurableEdge:
    """A running edge."""

    port: DevicePort
    deliveries: DeliveryPort
    kept: Keeping


@asynccontextmanager
async def durable_edge(
    broker: BrokerUrl,
    deployment: Deployment,
    store: Store,
    cloud_address: str | None,
    folder: Path,
    name: str = "edge-1",
    **settings: Any,
) -> AsyncIterator[DurableEdge]:
    """An edge connected to `broker` while entered; its journal is in `folder`. `settings` as of EdgeSettings."""
    node = NodeId(name)
    model = open_tiny(deployment, store, Tier.EDGE)
    models = {model.manifest.ref: model}
    async with AsyncExitStack() as stack:
        chosen = EdgeSettings(deployment=(Path("unused"),), node=node, **settings)
        kept = await stack.enter_async_context(keeping(chosen, folder, JOURNAL_FILE))
        executor = ThreadPoolExecutor(max_workers=1)
        stack.callback(executor.shutdown)
        batcher = MicroBatcher(executor, BatchQueue[Work](max_queued=64, max_batch=MAX_BATCH, max_wait_s=0.002))
        uplink = await stack.enter_async_context(Uplink([cloud_address])) if cloud_address else None
        await stack.enter_async_context(batcher.running())
        deliveries = await stack.enter_async_context(
            durable_tier(node, FLEET, models, kept, batcher, uplink, max_batch=MAX_BATCH)
        )
        edge_node = EdgeNode(node, models, batcher, uplink, uplink_timeout_s=5.0, fallback=False)
        port = DevicePort(edge_node, FLEET, Intake(64, 256 << 20), deliveries)
        link = asyncio.create_task(stay_connected(broker, node, FLEET, port.serve))
        try:
            async with asyncio.timeout(ONLINE_S):
                while not port.online:
                    await asyncio.sleep(0.01)
            yield DurableEdge(port, deliveries, kept)
            await port.drain(2.0)
        finally:
            link.cancel()
            with suppress(asyncio.CancelledError):
                await link


@asynccontextmanager
async def durable_device(
    broker: BrokerUrl,
    deployment: Deployment,
    store: Store,
    folder: Path,
    name: str = "cam-1",
    *,
    also: tuple[BrokerUrl, ...] = (),
    **settings: Any,
) -> AsyncIterator[DeviceAgent]:
    """A device that records into `folder` and sends while entered; not waited for until it is online."""
    node = NodeId(name)
    model = open_tiny(deployment, store, Tier.DEVICE)
    chosen = DeviceSettings(deployment=Path("unused"), node=node, **settings)
    async with keeping(chosen, folder, OUTBOX_FILE) as kept:
        durable = DurableFrames(node, FLEET, kept)
        agent = DeviceAgent(node, FLEET, model, deadline_s=10.0, fallback=False, durable=durable)
        async with agent.connected(broker, *also):
            yield agent


async def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    """Return once `condition` holds; TimeoutError if it does not."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
