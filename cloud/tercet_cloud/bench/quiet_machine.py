"""Waiting until nobody else uses the machine: times that neighbours lengthen say nothing of a plan.

A probe computes a network a few times; how long that takes, against the quickest it ever took in this run, says how
busy the machine is. It has nothing to do with what is measured, so repeating a measurement for its sake favours
no result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

QUIET = 1.12
_RUNS = 9
_AT_FIRST = 8
_PAUSE_S = 1.0

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Observed(Generic[ResultT]):
    """A result, and how many times slower than at its best the machine was around it."""

    result: ResultT
    slowness: float


class MachineProbe:
    """How busy the machine is.

    Args:
        compute: computes the same thing each time, for some milliseconds.
        patience_s: how long to wait for a quiet machine, each time; then it is measured as it is.
        repeats: how often to measure again if the machine was not quiet any more afterwards.
    """

    def __init__(self, compute: Callable[[], object], *, patience_s: float = 60.0, repeats: int = 2) -> None:
        self._compute = compute
        self._patience_s = patience_s
        self._repeats = repeats
        self._quickest_s = min(self._probe_s() for _ in range(_AT_FIRST))

    def slowness(self) -> float:
        """1 on a machine as quiet as it ever was in this run."""
        taken_s = self._probe_s()
        self._quickest_s = min(self._quickest_s, taken_s)
        return taken_s / self._quickest_s

    async def when_quiet(self, measure: Callable[[], Awaitable[ResultT]]) -> Observed[ResultT]:
        """Measure on a quiet machine, again if it was disturbed; of several the least disturbed."""
        tries: list[Observed[ResultT]] = []
        while len(tries) <= self._repeats:
            before = await self._wait_until_quiet()
            result = await measure()
            tries.append(Observed(result, max(before, await asyncio.to_thread(self.slowness))))
            if tries[-1].slowness <= QUIET:
                break
        return min(tries, key=lambda observed: observed.slowness)

    async def _wait_until_quiet(self) -> float:
        until_s = time.monotonic() + self._patience_s
        while True:
            slowness = await asyncio.to_thread(self.slowness)
            if slowness <= QUIET or time.monotonic() > until_s:
                return slowness
            await asyncio.sleep(_PAUSE_S)

    def _probe_s(self) -> float:
        times_s = []
        for _ in range(_RUNS):
            began_s = time.perf_counter()
            self._compute()
            times_s.append(time.perf_counter() - began_s)
        return median(times_s)
