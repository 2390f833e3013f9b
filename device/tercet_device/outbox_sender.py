"""Sends a device's durable frames to an edge, in order, until an edge has each of them on its disk.

To any edge at first, by the shared topic; from its first receipt on to the edge that gave it, by that edge's own
topic, because frames of one device keep their order at one edge. An edge that gives no receipt is left for any
other again. Realtime frames go first: a message waits while one is under way, but not for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from paho.mqtt.packettypes import PacketTypes

from tercet.back_off import BackOff
from tercet.durable.batch_pace import BatchPace
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.hand_over import HandOver, Outgoing
from tercet.durable.journal import Journal
from tercet.durable.receipts import parse_response
from tercet.errors import DeadlineError, LinkDownError, SpecError, TercetError, UnavailableError, WireFormatError
from tercet.identifiers import NodeId, check_name
from tercet.links.mqtt import new_properties
from tercet.v1 import delivery_pb2 as pb
from tercet.wire.topics import ack_topic, custody_topic, deliver_topic
from tercet_device.edge_link import EdgeLink, Listener

log = logging.getLogger(__name__)

# A receipt should take no longer: so long at most a realtime frame waits behind durable ones.
TARGET_S = 0.25
# A message waits this long for realtime frames under way; where they follow each other without a gap it goes then.
HOLD_BACK_S = 0.5
_LOOK_EVERY_S = 0.01
# How often to look for news that nobody told of.
_IDLE_S = 1.0
_ONLINE_S = 5.0
RETRY_FIRST_S, RETRY_MOST_S = 0.2, 30.0
_QUICK_S = 1.0
# What a large frame may take to leave over a slow link.
_PUBLISH_S = 120.0


class OutboxSender:
    """Of one device. Call `listen` before the links connect; `run` is its task.

    Args:
        journal: the device's outbox.
    """

    def __init__(self, node: NodeId, fleet: str, journal: Journal, clock: CaptureClock) -> None:
        self._node = node
        self._fleet = fleet
        self._journal = journal
        self._hand_over = HandOver(journal, clock, BatchPace(TARGET_S))
        self._receipt: asyncio.Future[pb.DeliverResponse] | None = None
        # The edge that keeps our frames, by the link it is reached over.
        self._custody: dict[EdgeLink, str] = {}
        self._link: EdgeLink | None = None
        self._back_off = BackOff(RETRY_FIRST_S, RETRY_MOST_S)
        self.unexpected = 0

    @property
    def holder(self) -> str:
        """The edge that keeps this device's frames now; empty if none is known to."""
        return self._custody.get(self._link, "") if self._link else ""

    def listen(self, links: Sequence[EdgeLink]) -> None:
        """Receive receipts over all links."""
        for link in links:
            listener = Listener(self._on_receipt, partial(self._on_lost, link))
            link.listen(ack_topic(self._fleet, self._node), listener)

    async def run(self, links: Sequence[EdgeLink]) -> None:
        """Until cancelled. What was under way then is sent again after the next start."""
        while True:
            link = await self._online_link(links)
            if link is None:
                continue
            try:
                sent = await self._send_some(link)
            except TercetError as error:
                await self._note_failure(links, link, error)
                continue
            if self._back_off.failures:
                log.info("durable frames are taken again", extra={"holder": self._hand_over.holder})
            self._back_off.reset()
            if not sent:
                await self._idle()

    async def _send_some(self, link: EdgeLink) -> bool:
        """One message and its receipt; False if nothing waits."""
        waiting = await self._waiting()
        if not waiting:
            return False
        await self._hold_back(link)
        await self._hand_over.offer(waiting, partial(self._send, link))
        self._note_holder(link, self._hand_over.holder)
        return True

    async def _waiting(self) -> list[Outgoing]:
        pace = self._hand_over.pace
        self._journal.arrived.clear()
        entries = await self._journal.pending(0, pace.max_frames, pace.max_bytes)
        return [Outgoing(entry, entry.sealed) for entry in entries]

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_S):
                await self._journal.arrived.wait()
        except TimeoutError:
            return

    async def _online_link(self, links: Sequence[EdgeLink]) -> EdgeLink | None:
        """The link that frames go over if it is up, else the next one that is; None if none is for a while."""
        if self._link is not None and self._link.online:
            return self._link
        if not (found := _next_online(links, self._link)):
            waits = [asyncio.create_task(link.wait_online(_ONLINE_S)) for link in links]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
            found = _next_online(links, self._link)
        self._link = found or self._link
        return found

    async def _hold_back(self, link: EdgeLink) -> None:
        until_s = time.monotonic() + HOLD_BACK_S
        while link.asking and time.monotonic() < until_s:
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _send(self, link: EdgeLink, request: pb.DeliverRequest, timeout_s: float) -> pb.DeliverResponse:
        holder = self._custody.get(link)
        topic = custody_topic(self._fleet, NodeId(holder)) if holder else deliver_topic(self._fleet, self._node)
        properties = new_properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = ack_topic(self._fleet, self._node)
        receipt: asyncio.Future[pb.DeliverResponse] = asyncio.get_running_loop().create_future()
        self._receipt = receipt
        publishing = asyncio.create_task(link.publish(topic, request.SerializeToString(), properties, _PUBLISH_S))
        try:
            # Publishing does not notice that the connection is lost; the receipt is told.
            first: set[asyncio.Future[Any]] = {publishing, receipt}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
            async with asyncio.timeout(timeout_s):
                return await receipt
        except TimeoutError as error:
            who = f"edge {holder}" if holder else "any edge"
            raise DeadlineError(f"no receipt from {who} within {timeout_s:.3g} s") from error
        finally:
            self._receipt = None
            publishing.cancel()
            # Looked at, or the loop complains of what nobody asked for.
            await asyncio.gather(publishing, return_exceptions=True)
            if not receipt.cancel() and not receipt.cancelled():
                receipt.exception()

    def _on_receipt(self, payload: bytes) -> None:
        try:
            response = parse_response(payload)
        except WireFormatError as error:
            log.warning("receipt refused", extra={"reason": str(error)})
            self.unexpected += 1
            return
        receipt = self._receipt
        if receipt is None or receipt.done() or not self._hand_over.awaits(response.sent_unix_us):
            self.unexpected += 1
            return
        receipt.set_result(response)

    def _on_lost(self, link: EdgeLink) -> None:
        if link is self._link and self._receipt is not None and not self._receipt.done():
            self._receipt.set_exception(LinkDownError("the connection to the broker was lost"))

    def _note_holder(self, link: EdgeLink, holder: str) -> None:
        if not _is_name(holder):
            self._custody.pop(link, None)
        elif self._custody.get(link) != holder:
            log.info("an edge keeps durable frames", extra={"edge": holder, "broker": str(link)})
            self._custody[link] = holder

    async def _note_failure(self, links: Sequence[EdgeLink], link: EdgeLink, error: TercetError) -> None:
        """Wait before the next try; an edge that is silent is left, and so is its broker if there is another."""
        level = logging.WARNING if not self._back_off.failures else logging.DEBUG
        log.log(level, "durable frames wait", extra={"reason": str(error), "broker": str(link)})
        wait_s = self._back_off.wait_s(error.retry_after_s if isinstance(error, UnavailableError) else None)
        if isinstance(error, DeadlineError):
            self._custody.pop(link, None)
            self._link = _next_online(links, link) or link
        if isinstance(error, DeadlineError | LinkDownError):
            # Time enough has gone by, or will until the connection is there again.
            wait_s = min(wait_s, _QUICK_S)
        await asyncio.sleep(wait_s)


def _next_online(links: Sequence[EdgeLink], after: EdgeLink | None) -> EdgeLink | None:
    """The first link that is up, of those after `after` and then of those before it; itself last."""
    start = links.index(after) + 1 if after in links else 0
    return next((link for link in (*links[start:], *links[:start]) if link.online), None)


def _is_name(holder: str) -> bool:
    try:
        check_name(holder, "edge")
    except SpecError:
        return False
    return True
