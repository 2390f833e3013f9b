"""The pools of one scheduler: processors, GPUs, and the ways to other tiers; which call goes where.

Only the pool of processors is there from the beginning; the others start when a call wants them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from tercet_cloud.dag.graph import CLOUD, Step
from tercet_cloud.dag.outcomes import LOOK, Task
from tercet_cloud.dag.pool import Arrival, Dispatch, WorkerPool
from tercet_cloud.dag.worker import THREADS

# Calls that steps of other tiers may have under way; they wait there, not here.
ELSEWHERE_SLOTS = 64
# Calls shorter than this are sent together, up to so many.
_TINY_S = 0.001
_MOST_TOGETHER = 8


class Pools:
    """Used from one event loop; see `WorkerPool` for the arguments.

    Args:
        workers, gpus: processes that compute, and GPUs of the cluster: one process for each.
    """

    def __init__(
        self,
        workers: int,
        gpus: int,
        values: Path | None,
        *,
        arrived: Callable[[Arrival], None],
        resized: Callable[[int], None],
        moved_up: Callable[[list[Task]], None],
    ) -> None:
        self._gpus, self._values, self._arrived, self._moved_up = gpus, values, arrived, moved_up
        self._processors = WorkerPool(workers, values, arrived=arrived, resized=resized, moved_up=moved_up)
        self._others: dict[str, WorkerPool] = {}
        self._starting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Returns when there is a worker."""
        await self._processors.start()

    def close(self) -> None:
        for pool in (self._processors, *self._others.values()):
            pool.close()
        for task in self._starting:
            task.cancel()

    def stop(self, task: Task) -> None:
        """End a call wherever it is."""
        for pool in (self._processors, *self._others.values()):
            pool.stop(task)

    def send(self, calls: Sequence[tuple[Dispatch, Step, float | None]]) -> None:
        """Give out calls, each with its step and how long it is expected to take.

        Very short ones go together, so many to a worker as it would get anyway; others one by one.
        """
        tiny = []
        for call, step, expected_s in calls:
            if (pool := self._pool_of(call.task, step)) is not self._processors:
                pool.dispatch([call])
            elif expected_s is not None and expected_s < _TINY_S:
                tiny.append(call)
            else:
                pool.dispatch([call])
        width = min(_MOST_TOGETHER, -(-len(tiny) // max(1, self._processors.usable)))
        for start in range(0, len(tiny), width or 1):
            self._processors.dispatch(tiny[start : start + width])

    def _pool_of(self, task: Task, step: Step) -> WorkerPool:
        # How long a list is, and whether a condition holds, is looked at here.
        if task.item == LOOK:
            return self._processors
        if step.place != CLOUD:
            return self._other("elsewhere", 1, threads=ELSEWHERE_SLOTS, kills=False, gpus=0)
        if step.gpus > 0:
            return self._other("gpus", self._gpus, threads=THREADS, kills=True, gpus=1)
        return self._processors

    def _other(self, name: str, size: int, *, threads: int, kills: bool, gpus: int) -> WorkerPool:
        pool = self._others.get(name)
        if pool is None:
            pool = self._others[name] = WorkerPool(
                size,
                self._values,
                arrived=self._arrived,
                resized=_no_matter,
                moved_up=self._moved_up,
                threads=threads,
                kills=kills,
                gpus=gpus,
            )
            task = asyncio.get_running_loop().create_task(pool.start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        return pool


def _no_matter(usable: int) -> None:
    """Calls for a worker of these pools wait until it is there."""
