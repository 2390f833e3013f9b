"""The life of `tercet cloud run`: check, start, be ready, redeploy on SIGHUP, drain, leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from functools import partial
from pathlib import Path

from tercet.errors import LinkDownError, OverloadedError, UnavailableError
from tercet.health import Health, HealthServer
from tercet.inference.segment_chain import check_providers
from tercet.models.store import Store
from tercet.plans import Deployment, read_deployment
from tercet.process import Shutdown, until_shutdown
from tercet_cloud.database import Database
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving.cluster import FrontEnd, ServeCluster, check_ray_address, choose_port, prepare_environment
from tercet_cloud.serving.dedicated_thread import DedicatedThread
from tercet_cloud.serving.inference_client import describe
from tercet_cloud.serving.model_host import check_segments
from tercet_cloud.serving.orphan_guard import OrphanGuard
from tercet_cloud.serving.results_watch import ResultsWatch
from tercet_cloud.serving.rollout import Rollout
from tercet_cloud.serving.serving_watch import ServingLostError, ServingWatch
from tercet_cloud.serving.settings import CloudSettings

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 5.0
PROBE_EVERY_S = 0.1
# What stopping may take beyond draining before we leave without it.
STOP_GRACE_S = 30.0


async def run_cloud(settings: CloudSettings, shutdown: Shutdown) -> int:
    """Serve until a shutdown is requested; returns the exit status.

    Everything a person can get wrong (deployments, segments, providers, ports, the database) is checked before any
    process is started. If what is served is lost for good, the process ends with EX_TEMPFAIL and a line that says
    why: it may be started again at once.
    No process that was started here is alive when this returns or raises.
    """
    deployments = [read_deployment(path) for path in settings.deployment]
    models = await asyncio.to_thread(check_segments, deployments, Store(settings.store))
    check_providers(settings.providers)
    database = Database(settings.results_url, connections=2)
    results = ResultsWatch(ResultStore(database), settings.results_max_age_days)
    await results.open()
    if settings.ray_address:
        await asyncio.to_thread(check_ray_address, settings.ray_address)
    front = front_end(settings)
    health = Health("cloud", settings.node)
    health.facts = {"grpc_port": front.grpc_port, "http_port": front.http_port, "models": models}
    health.observe = results.facts
    health.metrics += results.metrics()
    lost: ServingLostError | None = None
    with contextlib.ExitStack() as stack:
        stack.callback(database.close)
        health_port = stack.enter_context(HealthServer(health, settings.health_host, settings.health_port)).port
        scratch = None if settings.ray_address else stack.enter_context(OrphanGuard()).folder
        _warn_of_separate_files(settings)
        log.info("starting", extra={"grpc_port": front.grpc_port, "health_port": health_port})
        async with _beside(health.beat()), _beside(results.run()):
            try:
                await _serve(settings, deployments, front, scratch, health, shutdown)
            except ServingLostError as error:
                lost = error
    if lost is not None:
        log.critical("what was served is lost: start this cloud again", extra={"reason": str(lost)})
        logging.shutdown()
        # Ray's hooks at the end of a process would wait for the daemons that it lost.
        os._exit(os.EX_TEMPFAIL)
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
    rollout = Rollout(settings, health, serving, thread, deployments)
    # In place of a shutdown, which a hang-up is to other processes.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, rollout.request)
    starting = thread.submit(partial(serving.start, deployments))
    lost = False
    try:
        async with asyncio.timeout(settings.start_timeout_s):
            await until_shutdown(shutdown, _started(asyncio.wrap_future(starting)))
        _reclaim_signals()
        if not shutdown.requested:
            await until_shutdown(shutdown, _until_answering(front, deadline_s))
        if not shutdown.requested:
            health.ready = True
            ports = {"grpc_port": front.grpc_port, "http_port": front.http_port}
            log.info("ready", extra={"host": front.host, **ports, "models": health.facts["models"]})
            watch = ServingWatch(
                health, _reachable(front.host), front.grpc_port, serving.dead_daemon, settings.start_timeout_s
            )
            async with _beside(rollout.run()):
                await until_shutdown(shutdown, watch.run())
    except ServingLostError:
        lost = True
        raise
    except TimeoutError as error:
        raise UnavailableError(
            f"Ray was not up within {settings.start_timeout_s:g} s; raise --start-timeout-s on a slow machine"
        ) from error
    finally:
        health.ready = False
        if not lost:
            log.info("draining", extra={"drain_s": settings.drain_s})
            stopping = thread.submit(serving.stop)
            try:
                await asyncio.wait_for(asyncio.wrap_future(stopping), settings.drain_s + STOP_GRACE_S)
            except TimeoutError:
                log.error("Ray did not stop in time; its processes are ended by force")


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `work` while entered."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


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
        except (LinkDownError, OverloadedError):
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(PROBE_EVERY_S)


def _warn_of_separate_files(settings: CloudSettings) -> None:
    if settings.ray_address and (file := settings.results_url.file) is not None:
        log.warning(
            "replicas on other machines would keep results in files of their own: use --results postgresql://…",
            extra={"file": str(file)},
        )


def _reachable(host: str) -> str:
    """An address at which a listener on `host` can be reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
