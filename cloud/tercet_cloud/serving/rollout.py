"""Another deployment for a cloud that runs: read again on request, checked, rolled out, or refused with one line.

Serve replaces replicas one by one, each new one before the old one leaves, so that every request is answered. A
deployment that cannot be read, whose segments are not all there, or whose replicas do not start changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from tercet.errors import TercetError
from tercet.health import Health
from tercet.models.store import Store
from tercet.plans import Deployment, read_deployment
from tercet_cloud.serving.cluster import ServeCluster
from tercet_cloud.serving.dedicated_thread import DedicatedThread
from tercet_cloud.serving.model_host import check_segments
from tercet_cloud.serving.settings import CloudSettings

log = logging.getLogger(__name__)


class Rollout:
    """What is served now, and how it is replaced.

    Facts of health: `deployment`, a number that grows with every request; `deployment_refused`, why the last one
    changed nothing, or an empty text.
    """

    def __init__(
        self,
        settings: CloudSettings,
        health: Health,
        serving: ServeCluster,
        thread: DedicatedThread,
        deployments: Sequence[Deployment],
    ) -> None:
        self._settings, self._health, self._serving, self._thread = settings, health, serving, thread
        self._deployments = list(deployments)
        self._requested = asyncio.Event()
        self._number = 0
        self._tell("")

    def request(self) -> None:
        """Read the deployment files again, soon; more requests until then are one."""
        self._requested.set()

    async def run(self) -> None:
        """Serve requests until cancelled."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            try:
                await self._renew()
                refused = ""
            except TercetError as error:
                refused = str(error)
                log.error("new deployment refused, the old one goes on", extra={"reason": refused})
            self._number += 1
            self._tell(refused)

    async def _renew(self) -> None:
        deployments = await asyncio.to_thread(_read, self._settings)
        if deployments == self._deployments:
            log.info("the deployment is as it was")
            return
        log.info("rolling out", extra={"models": [deployment.model for deployment in deployments]})
        await self._in_ray(partial(self._roll, deployments))
        self._deployments = deployments
        log.info("rolled out")

    def _roll(self, deployments: Sequence[Deployment]) -> None:
        try:
            self._serving.redeploy(deployments)
        except TercetError:
            # Or Serve would go on trying, and start no other replica in place of one that dies.
            self._serving.redeploy(self._deployments)
            raise

    async def _in_ray(self, call: Callable[[], None]) -> None:
        # Shielded: a call in a thread cannot be cancelled, and stopping waits for it in that thread.
        await asyncio.shield(asyncio.wrap_future(self._thread.submit(call)))

    def _tell(self, refused: str) -> None:
        self._health.facts = {
            **self._health.facts,
            "models": [deployment.model for deployment in self._deployments],
            "deployment": self._number,
            "deployment_refused": refused,
        }


def _read(settings: CloudSettings) -> list[Deployment]:
    deployments = [read_deployment(path) for path in settings.deployment]
    check_segments(deployments, Store(settings.store))
    return deployments
