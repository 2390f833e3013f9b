"""The worker that asks other tiers: a Ray actor in which many calls wait for answers, and none computes much.

Every place has threads of its own there, as many as calls it may be given, so that one that answers nobody keeps no
other waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray

from tercet_cloud.dag.baton import Standing
from tercet_cloud.dag.call import unpack_call
from tercet_cloud.dag.ready_queue import OTHER_PLACE
from tercet_cloud.dag.worker import Order, StepWorker

# More than there are threads for at any number of places that a worker could serve: the threads are the bound.
_CALLS = 100_000


class TierWorker:
    """The plain class; `new_tier_worker` makes its Ray actor.

    Args:
        values: folder of results that are kept.
    """

    def __init__(self, values: Path | None) -> None:
        self._worker = StepWorker(values)
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def ready(self) -> bool:
        """Answers once the process is up."""
        return self._worker.ready()

    async def run(self, calls: Sequence[Order], *values: Any) -> tuple[Any, ...]:
        """As `StepWorker.run`; the calls are of one place."""
        place = unpack_call(calls[0][0]).place
        if place not in self._threads:
            self._threads[place] = ThreadPoolExecutor(OTHER_PLACE, thread_name_prefix=place)
        return await asyncio.get_running_loop().run_in_executor(
            self._threads[place], lambda: self._worker.run(calls, *values)
        )

    async def drop(self, name: str) -> Standing:
        """See `StepWorker.drop`."""
        return self._worker.drop(name)


def new_tier_worker(values: Path | None) -> Any:
    """A handle to a new process that asks other tiers."""
    make = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=_CALLS)
    return make(TierWorker).remote(values)
