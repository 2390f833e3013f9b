"""A device and an edge of the tiny model in this process, over a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from support.dictated import Dictated
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import CutModel, open_deployments
from tercet.identifiers import ModelRef, NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import stay_connected
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.tiers import Tier
from tercet_device.agent import DeviceAgent
from tercet_device.cascade_agent import CascadeAgent
from tercet_edge.batch_queue import BatchQueue
from tercet_edge.device_port import DevicePort
from tercet_edge.intake import Intake
from tercet_edge.micro_batch import MicroBatcher, Work
from tercet_edge.node import EdgeNode
from tercet_edge.uplink import Uplink

FLEET = "test"
ONLINE_S = 10.0


@dataclass(frozen=True)
class EdgeOptions:
    """How a test's edge differs from the usual."""

    fallback: bool = False
    uplink_timeout_s: float = 5.0
    max_frames: int = 64
    max_bytes: int = 256 << 20
    max_batch: int = 8
    slowdown: float = 1.0


def open_tiny(deployment: Deployment, store: Store, tier: Tier, slowdown: float = 1.0) -> CutModel:
    model = CutModel.open(deployment, store, threads=1, providers=("CPUExecutionProvider",), slowdown=slowdown)
    model.load_for(tier)
    return model


@asynccontextmanager
async def running_edge(
    broker: BrokerUrl,
    deployment: Deployment,
    store: Store,
    cloud_address: str | None,
    options: EdgeOptions | None = None,
    name: str = "edge-1",
) -> AsyncIterator[DevicePort]:
    """An edge connected to `broker` while entered."""
    model = open_tiny(deployment, store, Tier.EDGE, options.slowdown if options else 1.0)
    async with serving_edge(broker, {model.manifest.ref: model}, cloud_address, options, name) as port:
        yield port


@asynccontextmanager
async def serving_edge(
    broker: BrokerUrl,
    models: Mapping[ModelRef, CutModel],
    cloud_address: str | None,
    options: EdgeOptions | None = None,
    name: str = "edge-1",
    cascades: Sequence[OpenCascade] = (),
) -> AsyncIterator[DevicePort]:
    """An edge of any models connected to `broker` while entered."""
    chosen = replace(options) if options else EdgeOptions()
    executor = ThreadPoolExecutor(max_workers=1)
    queue = BatchQueue[Work](max_queued=chosen.max_frames, max_batch=chosen.max_batch, max_wait_s=0.002)
    batcher = MicroBatcher(executor, queue)
    uplink = await Uplink([cloud_address]).__aenter__() if cloud_address else None
    node = EdgeNode(
        NodeId(name),
        models,
        batcher,
        uplink,
        uplink_timeout_s=chosen.uplink_timeout_s,
        fallback=chosen.fallback,
        cascades=cascades,
    )
    port = DevicePort(node, FLEET, Intake(chosen.max_frames, chosen.max_bytes))
    link = asyncio.create_task(stay_connected(broker, NodeId(name), FLEET, port.serve))
    try:
        async with batcher.running():
            async with asyncio.timeout(ONLINE_S):
                while not port.online:
                    await asyncio.sleep(0.01)
            yield port
            await port.drain(2.0)
    finally:
        link.cancel()
        with suppress(asyncio.CancelledError):
            await link
        if uplink:
            await uplink.__aexit__(None, None, None)
        executor.shutdown()


@asynccontextmanager
async def running_device(
    broker: BrokerUrl,
    deployment: Deployment,
    store: Store,
    *,
    fallback: bool = False,
    deadline_s: float = 10.0,
    name: str = "cam-1",
    slowdown: float = 1.0,
    also: Sequence[BrokerUrl] = (),
) -> AsyncIterator[DeviceAgent]:
    """A device online at `broker` while entered."""
    model = open_tiny(deployment, store, Tier.DEVICE, slowdown)
    agent = DeviceAgent(NodeId(name), FLEET, model, deadline_s=deadline_s, fallback=fallback)
    async with agent.connected(broker, *also):
        await agent.wait_online(ONLINE_S)
        yield agent


@asynccontextmanager
async def running_cascade_edge(
    broker: BrokerUrl, dictated: Dictated, cloud_address: str | None, options: EdgeOptions | None = None
) -> AsyncIterator[tuple[DevicePort, OpenCascade]]:
    """An edge with the cascade and the deployments that it needs."""
    models = open_deployments(
        [dictated.deployments[name] for name in dictated.deployments if name != "small"],
        dictated.store,
        slowdown=options.slowdown if options else 1.0,
    )
    cascade = OpenCascade.open(dictated.cascade, dictated.store, models, Tier.EDGE, "edge-1")
    async with serving_edge(broker, models, cloud_address, options, cascades=[cascade]) as port:
        yield port, cascade


@asynccontextmanager
async def running_cascade_device(
    broker: BrokerUrl, dictated: Dictated, *, fallback: bool = True, deadline_s: float = 10.0
) -> AsyncIterator[CascadeAgent]:
    """A device with the cascade and the deployment of its first stage."""
    first = dictated.cascade.stages[0].model.partition("@")[0]
    model = open_tiny(dictated.deployments[first], dictated.store, Tier.DEVICE)
    models = {model.manifest.ref: model}
    cascade = OpenCascade.open(dictated.cascade, dictated.store, models, Tier.DEVICE, "cam-1")
    agent = CascadeAgent(NodeId("cam-1"), FLEET, model, cascade, deadline_s=deadline_s, fallback=fallback)
    async with agent.connected(broker):
        await agent.wait_online(ONLINE_S)
        yield agent
