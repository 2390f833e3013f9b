"""One message of durable frames to the next holder, and what its receipt changes here. Device and edge alike.

Frames are offered in order and stay in the journal until the next holder has them on its disk. A frame that is
refused for what it is counts a try; who cannot take frames now is not the frames' fault.
"""

from __future__ import annotations

import logging
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

# Messages whose receipt may still come, late.
_KEPT_MESSAGES = 16

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
        if self._clock.would_learn(one.entry.captured for one in waiting):
            await self._exchange((), send)
        batch = waiting[: self.pace.fill(len(one.sealed) for one in waiting)]
        gone, unavailable = await self._exchange(batch, send)
        if unavailable is not None and not gone:
            raise unavailable
        return [one for one in waiting if one.entry.position not in gone]

    async def _exchange(
        self, batch: Sequence[Outgoing], send: Send
    ) -> tuple[frozenset[int], UnavailableError | None]:
        """Positions that are gone from here, and why others could not be taken now."""
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
        return await self._settle(response)

    def _request(self, batch: Sequence[Outgoing]) -> pb.DeliverRequest:
        request = pb.DeliverRequest()
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
        for place, error in found.at_fault.items():
            entry = batch[place].entry
            if await self._journal.failed(entry.position, error):
                gone.append(entry.position)
            else:
                log.info("durable frame refused", extra={"sequence": entry.sequence, "reason": str(error)})
        for position in gone:
            self._sends.pop(position, None)
        return frozenset(gone), found.unavailable
