"""`tercet device run`: the agent, its photos, its health, from start to drain, one generation after another."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

from tercet.cascade.exit_metrics import exit_metrics
from tercet.errors import SpecError
from tercet.first_to_end import until_first_ends
from tercet.health import Health, HealthServer
from tercet.inference.self_profile import measure_before_serving
from tercet.links.broker_url import BrokerUrl
from tercet.links.profile_reports import retained_report
from tercet.models.store import Store
from tercet.plans import read_deployment
from tercet.process import Shutdown, until_shutdown
from tercet.shadows.node_shadow import NodeShadow
from tercet.tiers import Tier
from tercet_device.agent import DeviceAgent
from tercet_device.agent_metrics import agent_metrics
from tercet_device.cascade_agent import CascadeAgent
from tercet_device.durable_frames import DurableFrames, open_outbox
from tercet_device.generation import Generation, make_shooter, open_generation
from tercet_device.kept_table import TableFile
from tercet_device.photo_source import find_photos
from tercet_device.recording import Recorder
from tercet_device.results import Results
from tercet_device.sending import Sending
from tercet_device.settings import DeviceSettings

log = logging.getLogger(__name__)


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
    folder = settings.state_folder(settings.node)
    shadow = NodeShadow(Tier.DEVICE, settings.node, settings.fleet, folder)
    open_ = partial(open_generation, settings, durable, TableFile(folder))
    now = shadow.open_first(lambda: [read_deployment(settings.deployment)], open_)
    health = Health(Tier.DEVICE, settings.node)
    with (
        HealthServer(health, settings.health_host, settings.health_port) as server,
        Results(settings.results, settings.outputs, keep=settings.delivery == "durable") as results,
    ):
        health.facts = {
            "health_port": server.port,
            "broker": ", ".join(map(str, brokers)),
            "emulated_slowdown": settings.emulated_slowdown,
            "emulated_clock": settings.wall_clock().note,
        }
        sending = Sending(photos, results, frames=settings.frames, window=settings.window, rate_hz=settings.rate_hz)
        reported = await _own_report(settings, now.agent, health, shutdown)
        following: list[Generation] = []

        async def follow_desired() -> None:
            following.append(await shadow.next_opened(open_))

        while True:
            _show(now, settings, health, results, shadow)
            async with now.agent.connected(*brokers, retained=reported, beside=[shadow.attend]):
                health.ready = True
                work = [_serve(now, settings, shutdown, sending), follow_desired(), health.beat()]
                await until_shutdown(shutdown, until_first_ends(work))
            if not following or shutdown.requested:
                break
            before, now = now, following.pop()
            now.agent.number_after(before.agent)
        health.ready = False
    _log_outcome(now.agent, results)
    left = durable.undelivered if durable and settings.until_delivered else 0
    return os.EX_TEMPFAIL if results.lost or left else os.EX_OK


def _show(now: Generation, settings: DeviceSettings, health: Health, results: Results, shadow: NodeShadow) -> None:
    """In health and report, what is served from now on."""
    agent = now.agent
    # A device that has lost its broker says so, unless its frames can wait.
    health.condition = lambda: agent.online or settings.delivery == "durable"
    health.facts = {**health.facts, "model": now.model.manifest.ref, "desired_version": shadow.running}
    health.metrics = agent_metrics(agent, results)
    observed = []
    if agent.durable is not None:
        observed.append(agent.durable.facts)
        health.metrics += agent.durable.kept.metrics()
    if isinstance(agent, CascadeAgent):
        observed.append(agent.cascade.status)
        health.metrics += exit_metrics([agent.cascade])
    health.observe = lambda: {name: fact for facts in observed for name, fact in facts().items()}
    shadow.serving([now.model.manifest.ref])


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


async def _serve(now: Generation, settings: DeviceSettings, shutdown: Shutdown, sending: Sending) -> None:
    """Send every photo that has not been sent; with no photo, stay connected until cancelled."""
    if not settings.source:
        await asyncio.Event().wait()
    agent, store = now.agent, Store(settings.store)

    def drain_s() -> float:
        # Frames under way do not suffer from another generation: they have their deadlines.
        return settings.drain_s if shutdown.requested else max(settings.drain_s, settings.deadline_ms / 1000)

    if agent.durable is None or settings.delivery == "realtime":
        await sending.send_rest(make_shooter(agent, store).shoot, now.plans, drain_s)
        return
    recorder = Recorder(agent, store.card(now.model.manifest.model))
    await sending.send_rest(recorder.shoot, now.plans, drain_s)
    if settings.until_delivered:
        await agent.durable.wait_delivered()
