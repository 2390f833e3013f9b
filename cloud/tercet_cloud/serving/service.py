"""The life of `tercet cloud run`: check, start, be ready, drain, leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tercet.errors import LinkDownError, UnavailableError
from tercet.health import Health, HealthServer
from tercet.inference.segment_chain import check_providers
from tercet.models.store import Store
from tercet.plans import Deployment, read_deployment
from tercet.process import Shutdown, until_shutdown
from tercet_cloud.serving.cluster import FrontEnd, ServeCluster, check_ray_address, choose_port, prepare_environment
from tercet_cloud.serving.dedicated_thread import DedicatedThread
from tercet_cloud.serving.inference_client import describe
from tercet_cloud.serving.model_host import check_segments
from tercet_cloud.serving.orphan_guard import OrphanGuard
from tercet_cloud.serving.settings import CloudSettings

log = logging.getLogger(__name__)

WATCH_EVERY_S = 5.0
PROBE_TIMEOUT_S = 5.0
PROBE_EVERY_S = 0.1
# What stopping may take beyond draining before we leave without it.
STOP_GRACE_S = 30.0


async def run_cloud(settings: CloudSettings, shutdown: Shutdown) -> int:
    """Serve until a shutdown is requested; returns the exit status.

    Everything a person can get wrong (deployments, segments, providers, ports) is checked before any process
    is started.
    No process that was started here is alive when this returns or raises.
    """
    deployments = [read_deployment(path) for path in settings.deployment]
    models = await asyncio.to_thread(check_segments, deployments, Store(settings.store))
    check_providers(settings.providers)
    if settings.ray_address:
        await asyncio.to_thread(check_ray_address, settings.ray_address)
    front = front_end(settings)
    health = Health("cloud", settings.node)
    health.facts = {"grpc_port": front.grpc_port, "http_port": front.http_port, "models": models}
    with contextlib.ExitStack() as stack:
        health_port = stack.enter_context(HealthServer(health, settings.health_host, settings.health_port)).port
        scratch = None if settings.ray_address else stack.enter_context(OrphanGuard()).folder
        log.info("starting", extra={"grpc_port": front.grpc_port, "health_port": health_port})
        beating = asyncio.ensure_future(health.beat())
        try:
            await _serve(settings, deployments, front, scratch, health, shutdown)
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating
    log.info("stopped")
    return os.EX_OK


def front_end(settings: CloudSettings) -> FrontEnd:
    """The ports to listen on; PortBusyError if one is taken."""
    grpc_port, http_port = settings.port, settings.http_port
    # On a cluster, a Serve that runs already may rightly hold a port that was asked for.
    if not (settings.ray_address and grpc_port):
        grpc_port = choose_port(settings.host, grpc_port, "--port")
    if not (settings.ray_address and http_port):
        http_port = choose_port(settings.host, http_port, "--http-port")
    return FrontEnd(settings.host, grpc_port, http_port)


async def _serve(
    settings: CloudSettings,
    deployments: Sequence[Deployment],
    front: FrontEnd,
    scratch: Path | None,
    health: Health,
    shutdown: Shutdown,
) -> None:
    deadline_s = time.monotonic() + settings.start_timeout_s
    prepare_environment(scratch, settings.replicas)
    thread = DedicatedThread("ray")
    serving = ServeCluster(settings, front, scratch)
    starting = thread.submit(partial(serving.start, deployments))
    try:
        async with asyncio.timeout(settings.start_timeout_s):
            await until_shutdown(shutdown, _started(asyncio.wrap_future(starting)))
        _reclaim_signals()
        if not shutdown.requested:
            await until_shutdown(shutdown, _until_answering(front, deadline_s))
        if not shutdown.requested:
            health.ready = True
            log.info("ready", extra={"host": front.host, **health.facts})
            await until_shutdown(shutdown, _watch(front, health))
    except TimeoutError as error:
        raise UnavailableError(
            f"Ray was not up within {settings.start_timeout_s:g} s; raise --start-timeout-s on a slow machine"
        ) from error
    finally:
        health.ready = False
        log.info("draining", extra={"drain_s": settings.drain_s})
        stopping = thread.submit(serving.stop)
        try:
            await asyncio.wait_for(asyncio.wrap_future(stopping), settings.drain_s + STOP_GRACE_S)
        except TimeoutError:
            log.error("Ray did not stop in time; its processes are ended by force")


async def _started(starting: asyncio.Future[None]) -> None:
    # Shielded: a call in a thread cannot be cancelled, and stopping waits for it in that thread.
    await asyncio.shield(starting)


def _reclaim_signals() -> None:
    """Put our handlers back before Ray's, which print a stack trace at every SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.getsignal(number))
        signal.siginterrupt(number, False)


async def _until_answering(front: FrontEnd, deadline_s: float) -> None:
    """Ask through HAProxy until a replica answers; LinkDownError with the last reason after the deadline."""
    while True:
        try:
            await describe(_reachable(front.host), front.grpc_port, timeout_s=PROBE_TIMEOUT_S)
            return
        except LinkDownError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(PROBE_EVERY_S)


async def _watch(front: FrontEnd, health: Health) -> None:
    """Keep readiness true to what a client would see."""
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        try:
            await describe(_reachable(front.host), front.grpc_port, timeout_s=PROBE_TIMEOUT_S)
        except LinkDownError as error:
            if health.ready:
                log.warning("not answering", extra={"reason": str(error)})
            health.ready = False
        else:
            if not health.ready:
                log.info("answering again")
            health.ready = True


def _reachable(host: str) -> str:
    """An address at which a listener on `host` can be reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
