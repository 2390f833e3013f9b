"""One message of durable frames to the next holder, and what its receipt changes here. Device and edge alike.

Frames are offered in order and stay in the journal until the next holder has them on its disk. A frame that is
refused for what it is counts a try; who cannot take frames now is not the frames' fault. After a message without a
receipt an empty one asks whether anybody is there, before frames are sent again.
"""

from __future__ import annotations

import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tercet.durable.batch_pace import BatchPace
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.journal import Entry, Journal
from tercet.durable.receipts import judge
from tercet.errors import UnavailableError, WireFormatError
from tercet.v1 import delivery_pb2 as pb

log = logging.getLogger(__name__)

# How long to wait for somebody to be there. Short, so that frames go on soon after somebody is.
KNOCK_S = 2.0
# Messages whose receipt may still come, late.
_KEPT_MESSAGES = 16
# Frames may go in other ways than by a receipt, e.g. expire.
_KEPT_SENDS = 4096

Send = Callable[[pb.DeliverRequest, float], Awaitable[pb.DeliverResponse]]


@dataclass(frozen=True)
class Outgoing:
    """A frame as it leaves: of which entry, and its bytes, which may be computed further than the entry's."""

    entry: Entry
    sealed: bytes


class HandOver:
    """Of one journal to one next tier. For one event loop; one `offer` at a time.

    Args:
        clock: tells ages, and learns from every receipt.
        pace: how much goes into a message.
    """

    def __init__(self, journal: Journal, clock: CaptureClock, pace: BatchPace) -> None:
        self._journal = journal
        self._clock = clock
        self.pace = pace
        self._under_way: OrderedDict[int, Sequence[Outgoing]] = OrderedDict()
        # How often frames that are still here were sent; their entries may be from before.
        self._sends: dict[int, int] = {}
        # Who gave the last receipt.
        self.holder = ""

    def awaits(self, sent_unix_us: int) -> bool:
        """Whether a receipt of the message sent then is still of use; a late one may be."""
        return sent_unix_us in self._under_way

    async def offer(self, waiting: Sequence[Outgoing], send: Send) -> list[Outgoing]:
        """Send the first of `waiting`, at least one, and do what the receipt says.

        Args:
            send: one message and the seconds its receipt may take; the receipt.
        Returns:
            what is still to be handed over, in order.
        Raises:
            UnavailableError: no receipt came, or the next holder could take none of the frames.
        If cancelled, everything is as if the receipt had been lost: the frames will be sent again.
        """
        gone: frozenset[int] = frozenset()
        if self.pace.missing or self._clock.would_learn(one.entry.captured for one in waiting):
            gone = await self._knock(send)
        if not gone:
            gone = await self._send_batch(waiting[: self.pace.fill(len(one.sealed) for one in waiting)], send)
        return [one for one in waiting if one.entry.position not in gone]

    async def _knock(self, send: Send) -> frozenset[int]:
        """A message without frames: is anybody there, and what does their clock say?

        The receipt may be a late one of a message before; the positions that are gone by it.
        """
        gone, _ = await self._settle(await send(self._request(()), KNOCK_S * random.uniform(0.75, 1.25)))
        return gone

    async def _send_batch(self, batch: Sequence[Outgoing], send: Send) -> frozenset[int]:
        """The positions that are gone from here then, one at least unless some were at fault."""
        request = self._request(batch)
        await self._journal.sent([one.entry.position for one in batch])
        began_s = time.monotonic()
        try:
            response = await send(request, self.pace.timeout_s)
        except UnavailableError:
            self.pace.missed()
            raise
        size_bytes = sum(len(one.sealed) for one in batch)
        self.pace.answered(len(batch), size_bytes, time.monotonic() - began_s)
        gone, unavailable = await self._settle(response)
        if unavailable is not None and not gone:
            raise unavailable
        return gone

    def _request(self, batch: Sequence[Outgoing]) -> pb.DeliverRequest:
        request = pb.DeliverRequest()
        if len(self._sends) > _KEPT_SENDS:
            self._sends.clear()
        for one in batch:
            age_ms, source = self._clock.age(one.entry.captured)
            sends = max(one.entry.sends, self._sends.get(one.entry.position, 0))
            self._sends[one.entry.position] = sends + 1
            request.deliveries.add(
                frame=one.sealed, age_ms=age_ms, age_source=source.wire, resends=min(sends, 2**32 - 1)
            )
        request.sent_unix_us = self._clock.ask()
        self._under_way[request.sent_unix_us] = batch
        while len(self._under_way) > _KEPT_MESSAGES:
            self._under_way.popitem(last=False)
        return request

    async def _settle(self, response: pb.DeliverResponse) -> tuple[frozenset[int], UnavailableError | None]:
        batch = self._under_way.get(response.sent_unix_us)
        if batch is None:
            raise UnavailableError("a receipt came for durable frames that were not sent")
        # Messages before this one had the same frames, or earlier ones.
        self._under_way.clear()
        self.holder = response.holder
        self._clock.learn(response.holder, response.sent_unix_us, response.answered_unix_us)
        try:
            found = judge([(one.entry.node, one.entry.sequence) for one in batch], response)
        except WireFormatError as error:
            raise UnavailableError(f"{response.holder or 'the next holder'}: {error}") from error
        gone = [batch[place].entry.position for place in found.settled]
        if gone:
            await self._journal.handed_on(gone)
        for place, fault in found.at_fault.items():
            entry = batch[place].entry
            if await self._journal.failed(entry.position, fault):
                gone.append(entry.position)
            else:
                log.info("durable frame refused", extra={"sequence": entry.sequence, "reason": str(fault)})
        for position in gone:
            self._sends.pop(position, None)
        return frozenset(gone), found.unavailable
