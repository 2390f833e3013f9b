"""`tercet edge run`: broker, node, uplink and health, from start to drain."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from tercet.cascade.exit_metrics import exit_metrics
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import CutModel
from tercet.durable.keeping import keeping
from tercet.health import Health, HealthServer
from tercet.inference.self_profile import measure_before_serving
from tercet.limits import MIB
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import stay_connected
from tercet.links.profile_reports import retained_report
from tercet.plans import read_deployment
from tercet.process import Shutdown, until_shutdown
from tercet.shadows.node_shadow import NodeShadow
from tercet.tiers import Tier
from tercet_edge.batch_queue import BatchQueue
from tercet_edge.device_port import DevicePort
from tercet_edge.durable_tier import JOURNAL_FILE, durable_tier
from tercet_edge.edge_metrics import edge_metrics
from tercet_edge.embedded_broker import embedded_broker
from tercet_edge.intake import Intake
from tercet_edge.micro_batch import MicroBatcher, Work
from tercet_edge.node import EdgeNode
from tercet_edge.served_models import Served, ServedModels, open_served
from tercet_edge.settings import EdgeSettings
from tercet_edge.uplink import Uplink

log = logging.getLogger(__name__)

# A run that takes longer hangs. Its thread cannot be ended, so the process is.
STUCK_AFTER_S = 60.0


async def run_edge(settings: EdgeSettings, shutdown: Shutdown) -> int:
    """Serve until a shutdown is requested, then drain. Raises what is wrong with settings, store or ports."""
    folder = settings.state_folder(settings.node)
    shadow = NodeShadow(Tier.EDGE, settings.node, settings.fleet, folder)
    open_ = partial(open_served, settings)
    served = shadow.open_first(lambda: [read_deployment(path) for path in settings.deployment], open_)
    models = ServedModels(served.models)
    health = Health(Tier.EDGE, settings.node)
    async with AsyncExitStack() as stack:
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
            cascades=served.cascades,
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
            "emulated_slowdown": settings.emulated_slowdown,
            "emulated_clock": settings.wall_clock().note,
            "state": str(folder),
        }
        metrics = [*kept.metrics(), *edge_metrics(port, batcher, uplink)]

        def show(now: Served) -> None:
            """In health and report, what is served from now on."""
            health.facts = {**health.facts, "models": list(now.deployed), "desired_version": shadow.running}
            health.metrics = [*metrics, *exit_metrics(now.cascades)]
            health.observe = lambda: {**_cascade_facts(now.cascades), **kept.facts()}
            shadow.serving(now.deployed)

        async def follow_desired() -> None:
            while True:
                now = await shadow.next_opened(open_)
                models.replace(now.models)
                node.replace_cascades(now.cascades)
                show(now)

        show(served)
        deployed = [models[ref] for ref in served.deployed]
        retained = await _own_report(settings, deployed, executor, health, shutdown)
        health.ready = True
        beside = [
            follow_desired(),
            _end_if_stuck(batcher, STUCK_AFTER_S * settings.emulated_slowdown),
            health.beat(),
        ]
        link = stay_connected(
            broker, settings.node, settings.fleet, port.serve, retained=retained, beside=[shadow.attend]
        )
        log.info(
            "edge started", extra={"broker": str(broker), "cloud": ", ".join(settings.cloud_address) or "none"}
        )
        await until_shutdown(shutdown, _serve(link, beside, port, health, settings.drain_s))
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
    """The broker to use: an external one, which may come later, or our own for as long as we run."""
    if settings.broker_url:
        yield BrokerUrl.parse(settings.broker_url)
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


async def _end_if_stuck(batcher: MicroBatcher, limit_s: float) -> None:
    """End the process when a run hangs, as a crash would, so that whoever watches it starts it again."""
    while batcher.longest_run_s < limit_s:
        await asyncio.sleep(1.0)
    log.critical("a run hangs, this edge ends", extra={"after_s": limit_s})
    logging.shutdown()
    os._exit(os.EX_SOFTWARE)


async def _serve(
    link: Coroutine[Any, Any, None],
    beside: Sequence[Coroutine[Any, Any, None]],
    port: DevicePort,
    health: Health,
    drain_s: float,
) -> None:
    """Serve until cancelled; then drain over the connection that is still there."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one) for one in (link, *beside)]
        try:
            await asyncio.Event().wait()
        finally:
            health.ready = False
            await port.drain(drain_s)
            for task in running:
                task.cancel()


def _cascade_facts(cascades: Sequence[OpenCascade]) -> dict[str, object]:
    return {"cascades": [cascade.status() for cascade in cascades]} if cascades else {}
