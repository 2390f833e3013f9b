"""Hands an edge's durable frames on to the cloud in the order they were taken: computes ahead, sends, forgets.

The frames of one message are settled before the next is sent, so that those of a device are stored in their order.
While the cloud cannot take any, nothing is lost and nothing is tried more often than every few seconds.
"""

from __future__ import annotations

import asyncio
import logging

from tercet.back_off import BackOff
from tercet.durable.batch_pace import BatchPace
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.hand_over import HandOver, Outgoing
from tercet.durable.journal import Journal
from tercet.errors import TercetError, UnavailableError
from tercet.limits import MIB
from tercet_edge.durable_compute import DurableCompute
from tercet_edge.uplink import Uplink

log = logging.getLogger(__name__)

# A message should have its receipt after so long, computing and storing included.
TARGET_S = 1.0
FIRST_TIMEOUT_S, LONGEST_TIMEOUT_S = 10.0, 60.0
RETRY_FIRST_S, RETRY_MOST_S = 0.2, 5.0
# Frames that are computed together, and held in memory while those before them are sent.
_STRETCH_FRAMES, _STRETCH_BYTES = 128, MIB
_IDLE_S = 1.0


class JournalDrain:
    """Of one edge; `run` is its task.

    Args:
        uplink: the cloud.
    """

    def __init__(self, journal: Journal, compute: DurableCompute, uplink: Uplink, clock: CaptureClock) -> None:
        self._journal = journal
        self._compute = compute
        self._uplink = uplink
        pace = BatchPace(TARGET_S, first_timeout_s=FIRST_TIMEOUT_S, longest_timeout_s=LONGEST_TIMEOUT_S)
        self._hand_over = HandOver(journal, clock, pace)
        self._back_off = BackOff(RETRY_FIRST_S, RETRY_MOST_S)
        self._ready: asyncio.Queue[list[Outgoing]] = asyncio.Queue(maxsize=1)

    @property
    def waiting(self) -> bool:
        """Whether the cloud could not take frames lately."""
        return self._back_off.failures > 0

    async def run(self) -> None:
        """Until cancelled. What was under way then is computed and sent again after the next start."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._compute_ahead())
            tasks.create_task(self._send())

    async def _compute_ahead(self) -> None:
        after = 0
        while True:
            try:
                after = await self._compute_next(after)
            except TercetError as error:
                # Of the journal: its disk is full, or damaged. Realtime frames do without it.
                log.error("durable frames not computed", extra={"reason": str(error)})
                await asyncio.sleep(RETRY_MOST_S)

    async def _compute_next(self, after: int) -> int:
        """The position up to which all is computed then."""
        self._journal.arrived.clear()
        entries = await self._journal.pending(after, _STRETCH_FRAMES, _STRETCH_BYTES)
        if not entries:
            await self._idle()
            return after
        if ready := await self._compute.advance(entries):
            await self._ready.put(ready)
        return entries[-1].position

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_S):
                await self._journal.arrived.wait()
        except TimeoutError:
            return

    async def _send(self) -> None:
        while True:
            waiting = await self._ready.get()
            while waiting:
                try:
                    waiting = await self._hand_over.offer(waiting, self._uplink.deliver)
                except TercetError as error:
                    if not self.waiting:
                        log.warning("durable frames wait for the cloud", extra={"reason": str(error)})
                    retry_after_s = error.retry_after_s if isinstance(error, UnavailableError) else None
                    await asyncio.sleep(self._back_off.wait_s(retry_after_s))
                else:
                    if self.waiting:
                        log.info("durable frames are taken again", extra={"holder": self._hand_over.holder})
                    self._back_off.reset()
