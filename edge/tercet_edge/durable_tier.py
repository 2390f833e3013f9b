"""Durable frames at an edge, put together: custody, its side of MQTT, computing, and the way on to the cloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tercet.cut_model import CutModel
from tercet.durable.keeping import Keeping
from tercet.identifiers import ModelRef, NodeId
from tercet.limits import MIB
from tercet_edge.custody import Custody
from tercet_edge.delivery_port import DeliveryPort
from tercet_edge.durable_compute import DurableCompute
from tercet_edge.intake import Intake
from tercet_edge.journal_drain import JournalDrain
from tercet_edge.micro_batch import MicroBatcher
from tercet_edge.uplink import Uplink

JOURNAL_FILE = "journal.db"
# Messages with durable frames that are being taken at once. Room for one of any size beside small ones.
_MESSAGES, _MESSAGE_BYTES = 256, 128 * MIB


@asynccontextmanager
async def durable_tier(
    node: NodeId,
    fleet: str,
    models: Mapping[ModelRef, CutModel],
    kept: Keeping,
    batcher: MicroBatcher,
    uplink: Uplink | None,
    *,
    max_batch: int,
) -> AsyncIterator[DeliveryPort]:
    """Hand on what is in the journal while entered; the port takes more of it.

    Args:
        uplink: the cloud; without one, frames stay in the journal.
        max_batch: frames in one run of the batcher.
    """
    port = DeliveryPort(Custody(node, models, kept.journal, kept.clock), fleet, Intake(_MESSAGES, _MESSAGE_BYTES))
    if uplink is None:
        yield port
        return
    # One run computes while the next one fills.
    compute = DurableCompute(models, batcher, kept.journal, max_queued=2 * max_batch)
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(JournalDrain(kept.journal, compute, uplink, kept.clock).run())
        try:
            yield port
        finally:
            draining.cancel()
