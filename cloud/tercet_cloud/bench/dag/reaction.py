"""From a change of a key to the result of its pipeline: by an event, and by polling."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tercet_cloud.bench.dag import steps
from tercet_cloud.bench.dag.figures import Reaction as Figures
from tercet_cloud.bench.dag.graphs import chain, percentile
from tercet_cloud.dag.events.bus import EventBus
from tercet_cloud.dag.events.content import digest_of
from tercet_cloud.dag.events.rules import Rule, Rules
from tercet_cloud.dag.events.runner import EventRunner, Reaction
from tercet_cloud.dag.session import PipelineSession
from tercet_cloud.dag.spec import Pipeline

# A poller looks so often at all keys; half of it is what a change waits on average.
POLL_S = 0.1
_KEYS = 50
_NODES = 3
_PATH = Path("bench")


async def measure_reaction(session: PipelineSession, changes: int, seconds: float) -> Figures:
    """One change at a time for the latency; then 50 keys, each changed again as soon as its result is there."""
    pipeline = chain("react", _NODES, steps.sleep)
    quick = chain("react-quick", _NODES, steps.nothing)
    for one in (pipeline, quick):
        await session.run(one)
    event_ms = await _with_events(session, pipeline, lambda change: _latencies(change, changes))
    polled_ms = await _with_polling(session, pipeline, lambda change: _latencies(change, changes))
    event_rates = await _with_events(session, quick, lambda change: _rate(change, seconds))
    polled_rates = await _with_polling(session, quick, lambda change: _rate(change, seconds))
    return Figures(
        changes=changes,
        event_p50_ms=percentile(event_ms, 0.5),
        polled_p50_ms=percentile(polled_ms, 0.5),
        event_per_s=event_rates[0],
        polled_per_s=polled_rates[0],
        poll_every_ms=POLL_S * 1000,
    )


# Changes a key, and returns when the pipeline has run for it.
Change = Callable[[str, int], Awaitable[None]]
Measure = Callable[[Change], Awaitable[list[float]]]


async def _with_events(session: PipelineSession, pipeline: Pipeline, measure: Measure) -> list[float]:
    bus, waiting = EventBus(), dict[str, asyncio.Future[None]]()

    def reacted(reaction: Reaction) -> None:
        if reaction.error is not None:
            raise reaction.error
        waiting.pop(reaction.event.key).set_result(None)

    async def change(key: str, value: int) -> None:
        waiting[key] = asyncio.get_running_loop().create_future()
        bus.publish(key, value)
        await waiting[key]

    rules = Rules(rules=(Rule(key="key/*", pipeline=_PATH),))
    runner = EventRunner(session, bus, rules, {_PATH: pipeline}, reacted)
    async with runner.running():
        return await measure(change)


async def _with_polling(session: PipelineSession, pipeline: Pipeline, measure: Measure) -> list[float]:
    held: dict[str, int] = {}
    seen: dict[str, str] = {}
    waiting: dict[str, asyncio.Future[None]] = {}

    async def change(key: str, value: int) -> None:
        waiting[key] = asyncio.get_running_loop().create_future()
        held[key] = value
        await waiting[key]

    async def run(key: str) -> None:
        await session.run(pipeline)
        waiting.pop(key).set_result(None)

    async def poll(group: asyncio.TaskGroup) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            for key, value in list(held.items()):
                if seen.get(key) != (digest := digest_of(value)):
                    seen[key] = digest
                    group.create_task(run(key))

    async with asyncio.TaskGroup() as group:
        polling = group.create_task(poll(group))
        found = await measure(change)
        polling.cancel()
    return found


async def _latencies(change: Change, changes: int) -> list[float]:
    generator = random.Random(1)
    found = []
    for number in range(changes):
        # Changes fall anywhere between two looks.
        await asyncio.sleep(generator.uniform(0, POLL_S))
        began_s = time.perf_counter()
        await change("key/0", number)
        found.append((time.perf_counter() - began_s) * 1000)
    return found


async def _rate(change: Change, seconds: float) -> list[float]:
    until_s, done = time.perf_counter() + seconds, 0

    async def keep_changing(key: str) -> None:
        nonlocal done
        number = 0
        while time.perf_counter() < until_s:
            number += 1
            await change(key, number)
            done += 1

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(_KEYS):
            group.create_task(keep_changing(f"key/{number}"))
    return [done / (time.perf_counter() - began_s)]
