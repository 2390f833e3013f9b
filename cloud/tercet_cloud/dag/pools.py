"""The pools of one scheduler: processors, GPUs, and the ways to other tiers; which call goes where.

Only the pool of processors is there from the beginning; the others start when a call wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tercet_cloud.dag.graph import CLOUD, Step
from tercet_cloud.dag.outcomes import LOOK, Task
from tercet_cloud.dag.pool import Arrival, Dispatch, WorkerPool
from tercet_cloud.dag.tier_worker import new_tier_worker
from tercet_cloud.dag.worker import new_worker

# Calls shorter than this are sent together, up to so many.
_TINY_S = 0.001
_MOST_TOGETHER = 8


class Pools:
    """Used from one event loop; see `WorkerPool` for the arguments.

    Args:
        workers, gpus: processes that compute, and GPUs of the cluster: one process for each.
        values: folder of kept results.
    """

    def __init__(
        self,
        workers: int,
        gpus: int,
        values: Path | None,
        *,
        arrived: Callable[[Arrival], None],
        look_again: Callable[[Task, float], None],
        resized: Callable[[int], None],
    ) -> None:
        self._gpus, self._values, self._arrived, self._look_again = gpus, values, arrived, look_again
        self._processors = WorkerPool(
            workers, partial(new_worker, values), arrived=arrived, look_again=look_again, resized=resized
        )
        self._others: dict[str, WorkerPool] = {}

    async def start(self) -> None:
        """Returns when there is a worker."""
        await self._processors.start()

    def close(self) -> None:
        for pool in self._all():
            pool.close()

    def stop(self, task: Task) -> None:
        """End a call wherever it is."""
        for pool in self._all():
            pool.stop(task)

    def check(self, task: Task) -> None:
        """End a call wherever it is, if it ran as long as it may; see `WorkerPool.check`."""
        for pool in self._all():
            pool.check(task)

    def forget(self, run: str) -> None:
        """A run has ended."""
        for pool in self._all():
            pool.forget(run)

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
            return self._other("elsewhere", 1, partial(new_tier_worker, self._values), beside=True)
        if step.gpus > 0:
            return self._other("gpus", self._gpus, partial(new_worker, self._values, gpus=1))
        return self._processors

    def _other(self, name: str, size: int, make: Callable[[], Any], *, beside: bool = False) -> WorkerPool:
        pool = self._others.get(name)
        if pool is None:
            pool = self._others[name] = WorkerPool(
                size,
                make,
                arrived=self._arrived,
                look_again=self._look_again,
                resized=_no_matter,
                beside=beside,
            )
            pool.begin()
        return pool

    def _all(self) -> tuple[WorkerPool, ...]:
        return (self._processors, *self._others.values())


def _no_matter(usable: int) -> None:
    """Calls for a worker of these pools wait until it is there."""
