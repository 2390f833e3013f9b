"""A node's side of desired and reported: hears what is wanted, tries it, keeps it, says what it runs.

What is wanted is tried while the node goes on with what it has. What cannot be done is refused, with the reason,
and changes nothing. The broker may forget both: the disk has what counts, and reports are published at every
connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import TypeVar

import aiomqtt

from tercet.errors import TercetError, UnavailableError
from tercet.identifiers import ModelRef, NodeId
from tercet.links.paho_connection import hear
from tercet.plans import Deployment
from tercet.shadows.documents import MAX_FORMER, Desired, Kept, Reported, open_shadow, seal_shadow, shorten
from tercet.shadows.keeping import ShadowFolder
from tercet.shadows.reconcile import MAX_DEATHS, Standing, decide
from tercet.tiers import Tier
from tercet.wire.topics import desired_topic, reported_topic

log = logging.getLogger(__name__)

# However often an operator, or somebody else, publishes.
_LOOK_EVERY_S = 0.2

OpenedT = TypeVar("OpenedT")
# Makes deployments ready to serve, and takes in what it should know of former ones; TercetError if it cannot.
Open = Callable[[Sequence[Deployment], Sequence[Deployment]], OpenedT]


class NodeShadow:
    """Of one device or edge. For one event loop; `attend` runs once for every connection, of several brokers too.

    Args:
        folder: the node's state folder.
    """

    def __init__(self, tier: Tier, node: NodeId, fleet: str, folder: Path) -> None:
        self._wanted_on = desired_topic(fleet, node)
        self._reported_on = reported_topic(fleet, node)
        self._kept = ShadowFolder(folder)
        self._standing = Standing()
        # What is served now, and what was before, newest first.
        self._current: tuple[Deployment, ...] = ()
        self._former: tuple[Deployment, ...] = ()
        self._report = Reported(tier=tier)
        # Set, and replaced, when there is another report.
        self._reported_anew = asyncio.Event()
        # The newest payload that came, not yet looked at.
        self._payload: bytes | None = None
        self._news = asyncio.Event()

    @property
    def running(self) -> int:
        """The version that runs; 0: what the command line says."""
        return self._report.running

    def open_first(self, from_flags: Callable[[], Sequence[Deployment]], open_: Open[OpenedT]) -> OpenedT:
        """What to serve at the start: the last desired state that was taken, else what the command line says.

        Args:
            from_flags: reads what the command line says; not called if it is not needed.
        Raises what `from_flags` and `open_` raise of what the command line says.
        """
        kept: Kept | None = None
        try:
            kept = self._kept.last()
            if kept is not None:
                opened = _opened(open_, kept)
                self._take(kept)
                log.warning("last desired state used, not --deployment", extra={"version": kept.desired.version})
                return opened
        except TercetError as error:
            log.error("last desired state cannot be used, --deployment is", extra={"reason": str(error)})
            if kept is not None:
                self._refuse(kept.desired, error)
        self._current = tuple(from_flags())
        return open_(self._current, kept.former if kept else ())

    def serving(self, models: Sequence[ModelRef]) -> None:
        """What was opened is served now: to be reported."""
        self._report = self._report.model_copy(update={"models": tuple(models)})
        self._tell()

    async def next_opened(self, open_: Open[OpenedT]) -> OpenedT:
        """Wait for another desired state that can be served; returns it opened, and kept on the disk.

        If cancelled, nothing has changed, or all of it.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            payload, self._payload = self._payload, None
            if payload is not None and (desired := self._to_try(payload)) is not None:
                try:
                    kept = Kept(desired=desired, former=self._former_of(desired))
                    opened = await asyncio.to_thread(self._try, kept, open_)
                except TercetError as error:
                    log.warning("desired state refused", extra={"version": desired.version, "reason": str(error)})
                    self._refuse(desired, error)
                else:
                    log.info("desired state taken", extra={"version": desired.version})
                    self._take(kept)
                    return opened
            await asyncio.sleep(_LOOK_EVERY_S)

    async def attend(self, client: aiomqtt.Client) -> None:
        """Hear what is wanted over a connection, and report over it; until cancelled or the connection is lost."""
        hear(client, self._wanted_on, self._on_desired)
        await client.subscribe(self._wanted_on, qos=1)
        while True:
            anew = self._reported_anew
            await client.publish(self._reported_on, seal_shadow(self._report), qos=1, retain=True, timeout=inf)
            await anew.wait()

    def _on_desired(self, payload: bytes) -> None:
        # Empty: an operator has the broker forget it.
        if payload:
            self._payload = payload
            self._news.set()

    def _to_try(self, payload: bytes) -> Desired | None:
        try:
            desired = open_shadow(Desired, payload, "the desired state that was published")
        except TercetError as error:
            log.warning("desired state not understood", extra={"reason": str(error)})
            return None
        match decide(desired, self._standing):
            case "try":
                return desired
            case "contradiction":
                log.warning(
                    "desired state passed over: another one of its version is served",
                    extra={"version": desired.version},
                )
        return None

    def _former_of(self, desired: Desired) -> tuple[Deployment, ...]:
        served = dict.fromkeys((*self._current, *self._former))
        return tuple(one for one in served if one not in desired.deployments)[:MAX_FORMER]

    def _try(self, kept: Kept, open_: Open[OpenedT]) -> OpenedT:
        """In a thread: make it ready, and keep it. Raises TercetError if it cannot be served or kept."""
        if (deaths := self._kept.deaths(kept.desired)) >= MAX_DEATHS:
            raise UnavailableError(f"this node died {deaths} times when it tried it")
        self._kept.begin(kept.desired)
        try:
            opened = _opened(open_, kept)
            self._kept.keep(kept)
        finally:
            self._kept.end()
        return opened

    def _take(self, kept: Kept) -> None:
        self._current, self._former = kept.desired.deployments, kept.former
        version = kept.desired.version
        self._standing = Standing(applied=(version, kept.desired.digest))
        self._report = Reported(tier=self._report.tier, version=version, running=version)

    def _refuse(self, desired: Desired, error: TercetError) -> None:
        self._standing = Standing(applied=self._standing.applied, refused=(desired.version, desired.digest))
        changes = {"version": desired.version, "status": "refused", "reason": shorten(str(error))}
        self._report = self._report.model_copy(update=changes)
        self._tell()

    def _tell(self) -> None:
        """Have every connection publish the report."""
        self._reported_anew.set()
        self._reported_anew = asyncio.Event()


def _opened(open_: Open[OpenedT], kept: Kept) -> OpenedT:
    try:
        return open_(kept.desired.deployments, kept.former)
    except TercetError:
        raise
    except Exception as error:
        # Whatever a foreign model file makes an engine say.
        log.exception("desired state failed")
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
