"""Many pipelines at once: what goes through, and what an important one has to wait."""

from __future__ import annotations

import asyncio
import time

from tercet_cloud.bench.dag import steps
from tercet_cloud.bench.dag.figures import PUBLISHED, PUBLISHED_CORES, Inversion, Throughput
from tercet_cloud.bench.dag.graphs import chain, diamond, percentile, wide
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.session import PipelineSession
from tercet_cloud.dag.spec import Pipeline

_HIGH_NODES = 5
_LOW_NODES = 20
_LOW_PIPELINES = 8
_PAUSE_S = 0.02


async def measure_throughput(session: PipelineSession, pipelines: int, seconds: float) -> Throughput:
    """So many callers, each with one run of six nodes under way all the time."""
    pipeline = diamond("diamond", steps.nothing)
    await session.run(pipeline)
    ended = 0
    until_s = time.perf_counter() + seconds

    async def call() -> None:
        nonlocal ended
        while time.perf_counter() < until_s:
            record = (await session.run(pipeline)).record
            _require_done(record)
            ended += 1

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as callers:
        for _ in range(pipelines):
            callers.create_task(call())
    rate = ended * len(pipeline.nodes) / (time.perf_counter() - began_s)
    published = PUBLISHED.get(pipelines)
    return Throughput(
        pipelines=pipelines,
        nodes_per_s=rate,
        per_core=rate / session.workers,
        published_per_core=None if published is None else published / PUBLISHED_CORES,
    )


async def measure_inversion(session: PipelineSession, runs: int) -> Inversion:
    """Nodes of both kinds take 10 ms and no processor, so that what is measured is waiting for a worker."""
    high = chain("high", _HIGH_NODES, steps.sleep, priority=100)
    low = wide("low", _LOW_NODES, steps.sleep, priority=0)
    await session.run(high)
    await session.run(low)
    alone = [await _latency_ms(session, high) for _ in range(runs)]
    stopping, low_runs = asyncio.Event(), 0

    async def load() -> None:
        nonlocal low_runs
        while not stopping.is_set():
            _require_done((await session.run(low)).record)
            low_runs += 1

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as callers:
        for _ in range(_LOW_PIPELINES):
            callers.create_task(load())
        await asyncio.sleep(0.5)
        loaded = [await _latency_ms(session, high) for _ in range(runs)]
        stopping.set()
    return Inversion(
        runs=runs,
        alone_p50_ms=percentile(alone, 0.5),
        alone_p99_ms=percentile(alone, 0.99),
        loaded_p50_ms=percentile(loaded, 0.5),
        loaded_p99_ms=percentile(loaded, 0.99),
        low_nodes_per_s=low_runs * _LOW_NODES / (time.perf_counter() - began_s),
    )


async def _latency_ms(session: PipelineSession, pipeline: Pipeline) -> float:
    await asyncio.sleep(_PAUSE_S)
    record = (await session.run(pipeline)).record
    _require_done(record)
    assert record.ended_s is not None
    return (record.ended_s - record.submitted_s) * 1000


def _require_done(record: RunRecord) -> None:
    if record.state.value != "done":
        raise RuntimeError(f"run {record.run} ended as {record.state.value}: {record.reason}")
