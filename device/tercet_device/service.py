"""`tercet device run`: the agent, its photos, its health, from start to drain."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from tercet.adaptive.prediction_watch import PredictionWatch
from tercet.cascade.document import read_cascade
from tercet.cascade.exit_metrics import exit_metrics
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import CutModel
from tercet.errors import SpecError
from tercet.health import Health, HealthServer
from tercet.identifiers import NodeId
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.inference.self_profile import measure_before_serving
from tercet.links.broker_url import BrokerUrl
from tercet.links.profile_reports import retained_report
from tercet.models.store import Store
from tercet.plans import Plan, read_deployment
from tercet.process import Shutdown, until_shutdown
from tercet.tiers import Tier
from tercet_device.agent import DeviceAgent
from tercet_device.agent_metrics import agent_metrics
from tercet_device.cascade_agent import CascadeAgent
from tercet_device.durable_frames import DurableFrames, open_outbox
from tercet_device.photo_source import Shot, find_photos, schedule_shots
from tercet_device.recording import Recorder
from tercet_device.results import Results
from tercet_device.settings import DeviceSettings
from tercet_device.shooting import Shooter, ShotResult

log = logging.getLogger(__name__)

Shoot = Callable[[Shot, int], Awaitable[ShotResult]]


def open_device_model(
    deployment: Path,
    store: Path,
    *,
    threads: int = 1,
    providers: Sequence[str] = DEFAULT_PROVIDERS,
    slowdown: float = 1.0,
) -> CutModel:
    """The device's model with its head loaded. Raises what is wrong with deployment or store."""
    model = CutModel.open(
        read_deployment(deployment), Store(store), threads=threads, providers=providers, slowdown=slowdown
    )
    model.load_for(Tier.DEVICE)
    return model


def choose_plans(model: CutModel, names: tuple[str, ...]) -> list[Plan | None]:
    """The plans named. None stands for choosing per frame, among those with predictions, if none is named.

    Without predictions and names, the deployment's first.
    """
    plans = model.deployment.plans
    if names:
        return [model.deployment.plan(name) for name in names]
    return [None] if any(plan.predicted for plan in plans) else [plans[0]]


def make_agent(
    node: NodeId,
    fleet: str,
    model: CutModel,
    cascade: Path | None,
    store: Store,
    *,
    deadline_s: float,
    fallback: bool,
    durable: DurableFrames | None = None,
) -> DeviceAgent:
    """An agent for one model, or for a cascade whose first stage it is. Raises what is wrong with the cascade."""
    if cascade is None:
        return DeviceAgent(node, fleet, model, deadline_s=deadline_s, fallback=fallback, durable=durable)
    models = {model.manifest.ref: model}
    opened = OpenCascade.open(read_cascade(cascade), store, models, Tier.DEVICE, node)
    return CascadeAgent(node, fleet, model, opened, deadline_s=deadline_s, fallback=fallback)


async def run_device(settings: DeviceSettings, shutdown: Shutdown) -> int:
    """Serve until the photos are done or a shutdown is requested.

    Exit status 75 if a realtime frame was lost, or durable frames that were to be delivered are still here.
    """
    if settings.cascade and settings.delivery == "durable":
        raise SpecError("frames of a cascade are realtime frames: leave out --cascade or --delivery durable")
    async with open_outbox(settings) as durable:
        return await _run(settings, shutdown, durable)


async def _run(settings: DeviceSettings, shutdown: Shutdown, durable: DurableFrames | None) -> int:
    brokers = [BrokerUrl.parse(url) for url in settings.broker_url]
    photos = find_photos(settings.source)
    model = open_device_model(
        settings.deployment,
        settings.store,
        threads=settings.threads,
        providers=settings.providers,
        slowdown=settings.emulated_slowdown,
    )
    agent = make_agent(
        settings.node,
        settings.fleet,
        model,
        settings.cascade,
        Store(settings.store),
        deadline_s=settings.deadline_ms / 1000,
        fallback=settings.fallback,
        durable=durable,
    )
    agent.watch = PredictionWatch(limit=settings.replan_ratio, window=settings.replan_window)
    if agent.replanner is not None:
        agent.replanner.every_s = settings.replan_every_s
        agent.replanner.timeout_s = settings.replan_timeout_s
    if isinstance(agent, CascadeAgent) and settings.plan:
        raise SpecError("a cascade's stages name their plans: leave out --plan or --cascade")
    plans = [None] if isinstance(agent, CascadeAgent) else choose_plans(model, settings.plan)
    health = Health(Tier.DEVICE, settings.node)
    # A device that has lost its broker says so, unless its frames can wait.
    health.condition = lambda: agent.online or settings.delivery == "durable"
    with (
        HealthServer(health, settings.health_host, settings.health_port) as server,
        Results(settings.results, settings.outputs) as results,
    ):
        health.facts = {
            "health_port": server.port,
            "broker": ", ".join(map(str, brokers)),
            "model": model.manifest.ref,
            "emulated_slowdown": settings.emulated_slowdown,
            "emulated_clock": settings.wall_clock().note,
        }
        health.metrics = agent_metrics(agent, results)
        observed = []
        if durable is not None:
            observed.append(durable.facts)
            health.metrics += durable.kept.metrics()
        if isinstance(agent, CascadeAgent):
            observed.append(agent.cascade.status)
            health.metrics += exit_metrics([agent.cascade])
        health.observe = lambda: {name: fact for facts in observed for name, fact in facts().items()}
        reported = await _own_report(settings, agent, health, shutdown)
        async with agent.connected(*brokers, retained=reported):
            health.ready = True
            await until_shutdown(
                shutdown, _serve(agent, settings, health, schedule_shots(photos, plans, settings.frames), results)
            )
        health.ready = False
    _log_outcome(agent, results)
    left = durable.undelivered if durable and settings.until_delivered else 0
    return os.EX_TEMPFAIL if results.lost or left else os.EX_OK


def _log_outcome(agent: DeviceAgent, results: Results) -> None:
    log.info(
        "device done",
        extra={
            "sent": results.sent,
            "answered": results.answered,
            "acknowledged": results.acknowledged,
            "degraded": results.degraded,
            "lost": results.lost,
            "unexpected_answers": agent.unexpected_answers,
            "plan_switches": agent.switches,
            "renewals": agent.renewals,
            "replans": agent.replans,
            "replan_failures": agent.replan_failures,
        },
    )
    if agent.durable is not None:
        agent.durable.log_outcome()
    if isinstance(agent, CascadeAgent):
        for status in agent.cascade.exits_status():
            log.info("exits", extra={"cascade": agent.cascade.ref, **status})


async def _own_report(
    settings: DeviceSettings, agent: DeviceAgent, health: Health, shutdown: Shutdown
) -> dict[str, bytes]:
    """What to publish of this machine, measured now; nothing if that is not wanted."""
    if not settings.profile:
        return {}
    async with health.beating():
        profiles = await measure_before_serving(Tier.DEVICE, settings, [agent.model], agent.compute, shutdown)
    return retained_report(settings.fleet, settings.node, profiles)


def make_shooter(agent: DeviceAgent, store: Store) -> Shooter:
    """Photos as the agent takes them: its model's, or its cascade's."""
    if isinstance(agent, CascadeAgent):
        return Shooter(agent, agent.cascade.picture, agent.cascade)
    return Shooter(agent, store.card(agent.model.manifest.model))


async def _serve(
    agent: DeviceAgent, settings: DeviceSettings, health: Health, shots: Iterator[Shot], results: Results
) -> None:
    """Send every shot; with no photo, stay connected until cancelled."""
    beat = asyncio.create_task(health.beat())
    try:
        if not settings.source:
            await asyncio.Event().wait()
        store = Store(settings.store)
        if agent.durable is None or settings.delivery == "realtime":
            await _send_all(make_shooter(agent, store).shoot, shots, results, settings)
            return
        recorder = Recorder(agent, store.card(agent.model.manifest.model))
        await _send_all(recorder.shoot, shots, results, settings)
        if settings.until_delivered:
            await agent.durable.wait_delivered()
    finally:
        beat.cancel()


async def _send_all(shoot: Shoot, shots: Iterator[Shot], results: Results, settings: DeviceSettings) -> None:
    """At most `window` frames under way, started at `rate_hz`. On cancellation, those under way may finish."""
    places = asyncio.Semaphore(settings.window)
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    next_s = loop.time()

    async def send(shot: Shot, number: int) -> None:
        try:
            results.add(await shoot(shot, number))
        finally:
            places.release()

    try:
        for number, shot in enumerate(shots, 1):
            await places.acquire()
            if settings.rate_hz:
                await asyncio.sleep(next_s - loop.time())
                next_s = max(next_s + 1 / settings.rate_hz, loop.time() - 1)
            task = asyncio.create_task(send(shot, number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            # Each is bounded by the frame's deadline.
            await asyncio.wait(tasks)
    finally:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=settings.drain_s)
            for task in late:
                task.cancel()
