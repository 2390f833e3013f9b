"""Opens what a device or an edge needs to keep durable frames: its journal and its clocks, in its state folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tercet.durable.capture_clock import CaptureClock
from tercet.durable.counters import durable_metrics
from tercet.durable.journal import Journal
from tercet.durable.journal_settings import JournalSettings
from tercet.errors import TercetError
from tercet.metrics import Metric

log = logging.getLogger(__name__)

EXPIRE_EVERY_S = 10.0


@dataclass(frozen=True)
class Keeping:
    """An open journal, and the clocks its frames' ages are told by."""

    journal: Journal
    clock: CaptureClock

    def facts(self) -> dict[str, object]:
        """For health: what is held now."""
        held = self.journal.load()
        return {
            "durable": {
                "held_frames": held.frames,
                "held_bytes": held.bytes,
                "dead_letters": held.dead_letters,
                **self.journal.counters().as_dict(),
            }
        }

    def metrics(self) -> list[Metric]:
        return [*durable_metrics(self.journal), *self.clock.metrics()]


@asynccontextmanager
async def keeping(settings: JournalSettings, folder: Path, file_name: str) -> AsyncIterator[Keeping]:
    """Keep durable frames in `folder` while entered; frames that get too old are dropped meanwhile.

    Raises what `Journal.open` does: UnavailableError if another process keeps frames there.
    """
    wall = settings.wall_clock()
    clock = CaptureClock(folder, wall)
    if wall.note:
        log.warning("wall clock emulated", extra={"clock": wall.note})
    journal = Journal.open(folder / file_name, settings.bounds(), max_tries=settings.max_tries, clock=clock)
    async with journal, asyncio.TaskGroup() as tasks:
        expiring = tasks.create_task(_keep_expiring(journal))
        try:
            yield Keeping(journal, clock)
        finally:
            expiring.cancel()


async def _keep_expiring(journal: Journal) -> None:
    while True:
        try:
            await journal.expire()
        except TercetError as error:
            log.warning("old frames not dropped", extra={"reason": str(error)})
        await asyncio.sleep(EXPIRE_EVERY_S)
