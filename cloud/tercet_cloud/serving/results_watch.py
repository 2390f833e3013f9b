"""What the process of `tercet cloud run` does for the result store beside its replicas: /metrics, and expiry.

The replicas store results. Here nobody waits for the database: figures are those of the last look, and while the
database is away there are none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import fields

from tercet.errors import TercetError, UnavailableError
from tercet.metrics import Metric
from tercet.wall_clock import REAL_CLOCK, WallClock
from tercet_cloud.results.result import Tallies
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving.dedicated_thread import DedicatedThread

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
EXPIRE_EVERY_S = 600.0
_DAY_US = 24 * 3600 * 1_000_000

_HELP = {
    "taken": "Durable frames whose result was stored.",
    "redelivered": "Durable frames that came and had been sent before.",
    "deduplicated": "Durable frames that came and whose result was stored before.",
    "out_of_order": "Results stored after a later one of the same device.",
    "refused": "Durable frames that failed by their own fault.",
    "expired": "Results given up by age.",
}


class ResultsWatch:
    """For one store.

    Args:
        max_age_days: results that were received longer ago are given up; 0 keeps all.
    """

    def __init__(self, store: ResultStore, max_age_days: float, clock: WallClock = REAL_CLOCK) -> None:
        self._store, self._max_age_us, self._clock = store, round(max_age_days * _DAY_US), clock
        self._tallies: Tallies | None = None
        # An executor's threads would delay the end of the process while a database does not answer.
        self._thread = DedicatedThread("results")

    async def open(self) -> None:
        """Make the store's tables. Without its database, serving goes on, and durable frames wait where they are.

        Raises ContractError if a person must do something: a setting, a damaged file, a store of a newer version.
        """
        try:
            await asyncio.wrap_future(self._thread.submit(self._store.prepare))
        except UnavailableError as error:
            log.warning("no result store for now: durable frames wait", extra={"reason": str(error)})

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(LOOK_EVERY_S, self._look))
            if self._max_age_us:
                tasks.create_task(self._every(EXPIRE_EVERY_S, self._expire))

    def metrics(self) -> list[Metric]:
        """The store's counters, over all who write to it."""

        def counter(name: str, text: str) -> Metric:
            return Metric(f"tercet_durable_{name}_total", "counter", text, lambda: self._figure(name))

        return [
            *(counter(name, text) for name, text in _HELP.items()),
            Metric("tercet_durable_held_frames", "gauge", "Results held.", lambda: self._figure("held_frames")),
            Metric("tercet_durable_held_bytes", "gauge", "Bytes of outputs.", lambda: self._figure("held_bytes")),
        ]

    def facts(self) -> dict[str, object]:
        """For health."""
        known = self._tallies
        figures = {field.name: getattr(known, field.name) for field in fields(Tallies)} if known else {}
        return {"durable": {"results": self._store.shown, **figures}}

    def _figure(self, name: str) -> float:
        if self._tallies is None:
            raise UnavailableError("the result store was not reached")
        return float(getattr(self._tallies, name))

    def _look(self) -> None:
        self._tallies = self._store.tallies()

    def _expire(self) -> None:
        self._store.expire(self._clock.now_us() - self._max_age_us)

    async def _every(self, pause_s: float, work: Callable[[], None]) -> None:
        works = True
        while True:
            try:
                await asyncio.wrap_future(self._thread.submit(work))
            except TercetError as error:
                if works:
                    log.warning("the result store is not reached", extra={"reason": str(error)})
                works = False
                self._tallies = None
            else:
                if not works:
                    log.info("the result store is reached again")
                works = True
            await asyncio.sleep(pause_s)
