"""`tercet edge run`: broker, node, uplink and health, from start to drain."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

from tercet.cascade.document import read_cascade
from tercet.cascade.exit_metrics import exit_metrics
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import CutModel, open_deployments
from tercet.durable.keeping import keeping
from tercet.errors import SpecError
from tercet.health import Health, HealthServer
from tercet.inference.self_profile import measure_before_serving
from tercet.limits import MIB
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import check_broker, stay_connected
from tercet.links.profile_reports import retained_report
from tercet.models.store import Store
from tercet.plans import read_deployment
from tercet.process import Shutdown, until_shutdown
from tercet.tiers import Tier
from tercet_edge.batch_queue import BatchQueue
from tercet_edge.device_port import DevicePort
from tercet_edge.durable_tier import JOURNAL_FILE, durable_tier
from tercet_edge.embedded_broker import embedded_broker
from tercet_edge.intake import Intake
from tercet_edge.micro_batch import MicroBatcher, Work
from tercet_edge.node import EdgeNode
from tercet_edge.settings import EdgeSettings
from tercet_edge.uplink import Uplink

log = logging.getLogger(__name__)


async def run_edge(settings: EdgeSettings, shutdown: Shutdown) -> int:
    """Serve until a shutdown is requested, then drain. Raises what is wrong with settings, store or ports."""
    models = open_deployments(
        map(read_deployment, settings.deployment),
        Store(settings.store),
        threads=settings.threads,
        providers=settings.providers,
        slowdown=settings.emulated_slowdown,
    )
    for model in models.values():
        model.load_for(Tier.EDGE)
    cascades = [
        OpenCascade.open(read_cascade(path), Store(settings.store), models, Tier.EDGE, settings.node)
        for path in settings.cascade
    ]
    if len({cascade.ref for cascade in cascades}) != len(cascades):
        raise SpecError("the same cascade is named twice")
    health = Health(Tier.EDGE, settings.node)
    async with AsyncExitStack() as stack:
        folder = settings.state_folder(settings.node)
        kept = await stack.enter_async_context(keeping(settings, folder, JOURNAL_FILE))
        server = stack.enter_context(HealthServer(health, settings.health_host, settings.health_port))
        broker = await stack.enter_async_context(_broker(settings))
        uplink = None
        if settings.cloud_address:
            uplink = await stack.enter_async_context(
                Uplink(
                    settings.cloud_address,
                    max_calls=settings.max_calls,
                    max_call_frames=settings.max_call_frames,
                )
            )
        executor = ThreadPoolExecutor(max_workers=settings.workers, thread_name_prefix="segments")
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        batcher = MicroBatcher(executor, _queue(settings), workers=settings.workers)
        await stack.enter_async_context(batcher.running())
        node = EdgeNode(
            settings.node,
            models,
            batcher,
            uplink,
            uplink_timeout_s=settings.uplink_timeout_ms / 1000,
            fallback=settings.fallback,
            cascades=cascades,
        )
        deliveries = await stack.enter_async_context(
            durable_tier(settings.node, settings.fleet, models, kept, batcher, uplink, max_batch=settings.max_batch)
        )
        intake = Intake(settings.max_queued, settings.max_queued_mb * MIB)
        port = DevicePort(node, settings.fleet, intake, deliveries)
        health.condition = lambda: port.online
        health.facts = {
            "health_port": server.port,
            "broker": str(broker),
            "cloud": ", ".join(settings.cloud_address) or "none",
            "models": list(models),
            "emulated_slowdown": settings.emulated_slowdown,
            "emulated_clock": settings.wall_clock().note,
            "state": str(folder),
        }
        health.metrics += kept.metrics()
        health.observe = kept.facts
        if cascades:
            health.observe = lambda: {"cascades": [cascade.status() for cascade in cascades], **kept.facts()}
            health.metrics += exit_metrics(cascades)
        retained = await _own_report(settings, list(models.values()), executor, health, shutdown)
        health.ready = True
        await until_shutdown(shutdown, _serve(settings, broker, port, health, retained))
    log.info(
        "edge done",
        extra={"answered": port.answered, "refused": port.refused, "unanswerable": port.unanswerable},
    )
    return os.EX_OK


def _queue(settings: EdgeSettings) -> BatchQueue[Work]:
    return BatchQueue(
        max_queued=settings.max_queued,
        max_batch=settings.max_batch,
        max_wait_s=settings.batch_wait_ms / 1000,
        policy=settings.overload_policy,
    )


@asynccontextmanager
async def _broker(settings: EdgeSettings) -> AsyncIterator[BrokerUrl]:
    """The broker to use: an external one that is there, or our own for as long as we run."""
    if settings.broker_url:
        broker = BrokerUrl.parse(settings.broker_url)
        await check_broker(broker)
        yield broker
    else:
        async with embedded_broker(settings.mqtt_host, settings.mqtt_port) as broker:
            yield broker


async def _own_report(
    settings: EdgeSettings, models: Iterable[CutModel], executor: Executor, health: Health, shutdown: Shutdown
) -> dict[str, bytes]:
    """What to publish of this machine, measured now; nothing if that is not wanted."""
    if not settings.profile:
        return {}
    async with health.beating():
        profiles = await measure_before_serving(Tier.EDGE, settings, models, executor, shutdown)
    return retained_report(settings.fleet, settings.node, profiles)


async def _serve(
    settings: EdgeSettings, broker: BrokerUrl, port: DevicePort, health: Health, retained: Mapping[str, bytes]
) -> None:
    """Serve until cancelled; then drain over the connection that is still there."""
    async with asyncio.TaskGroup() as tasks:
        beat = tasks.create_task(health.beat())
        link = tasks.create_task(
            stay_connected(broker, settings.node, settings.fleet, port.serve, retained=retained)
        )
        log.info(
            "edge started", extra={"broker": str(broker), "cloud": ", ".join(settings.cloud_address) or "none"}
        )
        try:
            await asyncio.Event().wait()
        finally:
            health.ready = False
            await port.drain(settings.drain_s)
            link.cancel()
            beat.cancel()
