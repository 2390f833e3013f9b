"""Callers that each ask again as soon as they are answered: how many answers a second come, and how late.

For benchmarks; run it in a process of its own, or the callers' work counts as the callee's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

# Connections, caches and batches settle in this time, which is not counted.
WARM_UP_S = 0.5


@dataclass(frozen=True)
class Load:
    """What a number of callers saw. Times in ms; `failed` calls had no answer, or a refusal.

    `cpu_s` is this process's own processor time while the calls were counted.
    """

    callers: int
    seconds: float
    failed: int
    cpu_s: float
    latencies_ms: list[float] = field(repr=False)

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Load:
        return cls(**json.loads(text))


def summarise(loads: Sequence[Load]) -> dict[str, float]:
    """Rounds of one measurement as one row."""
    times_ms = np.concatenate([np.asarray(load.latencies_ms, np.float64) for load in loads])
    seconds = sum(load.seconds for load in loads)
    empty = times_ms.size == 0
    return {
        "per_s": round(times_ms.size / seconds, 1),
        "mean_ms": round(float(times_ms.mean()), 3) if not empty else float("nan"),
        "p99_ms": round(float(np.percentile(times_ms, 99)), 3) if not empty else float("nan"),
        "failed": sum(load.failed for load in loads),
        "callers_cores": round(sum(load.cpu_s for load in loads) / seconds, 2),
    }


async def run_callers(callers: int, seconds: float, call: Callable[[int], Awaitable[bool]]) -> Load:
    """Let `callers` call for `seconds` after a warm-up.

    Args:
        call: one call of the caller of that number; whether it was answered.
    """
    times_ms: list[float] = []
    failed = 0
    from_s = time.perf_counter() + WARM_UP_S
    until_s = from_s + seconds

    async def keep_calling(number: int) -> None:
        nonlocal failed
        while (began_s := time.perf_counter()) < until_s:
            good = await call(number)
            ended_s = time.perf_counter()
            if from_s <= ended_s < until_s:
                if good:
                    times_ms.append(round((ended_s - began_s) * 1000, 3))
                else:
                    failed += 1

    async def count_cpu() -> float:
        await asyncio.sleep(WARM_UP_S)
        before_s = time.process_time()
        await asyncio.sleep(seconds)
        return time.process_time() - before_s

    counting = asyncio.create_task(count_cpu())
    await asyncio.gather(*(keep_calling(number) for number in range(callers)))
    return Load(callers, seconds, failed, await counting, times_ms)
