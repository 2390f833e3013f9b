"""`tercet bench dag`: measures the parts, prints them beside their goals, writes JSON."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tercet.documents import write_atomically
from tercet_cloud.bench.dag import steps
from tercet_cloud.bench.dag.concurrency import measure_inversion, measure_throughput
from tercet_cloud.bench.dag.figures import (
    PUBLISHED_LATENCY_MS,
    PUBLISHED_RATE,
    DagFigures,
    Reaction,
)
from tercet_cloud.bench.dag.graphs import wide
from tercet_cloud.bench.dag.reaction import measure_reaction
from tercet_cloud.dag.session import PipelineSession, SessionOptions

PARTS = ("makespan", "overhead", "growth", "priority", "throughput", "durable", "events")
MAKESPAN_GOAL, OVERHEAD_GOAL, INVERSION_GOAL, TRANSITIONS_GOAL = 1.10, 1.5, 2.0, 1000.0
# Of growth per node from a graph ten times smaller: the logarithm of the heaps, and noise.
GROWTH_GOAL = 1.3


@dataclass(frozen=True)
class DagOptions:
    """See `tercet bench dag --help`."""

    parts: Sequence[str]
    workers: int | None
    rounds: int
    nodes: int
    large: int
    high_runs: int
    seconds: float
    as_json: bool
    out: Path


def bench_dag(options: DagOptions) -> int:
    """Returns the exit status: 0 however the goals are met."""
    parts = options.parts or PARTS
    session_options = SessionOptions(
        workers=options.workers, state=options.out / "state" if "durable" in parts else None
    )
    load = os.getloadavg()[0]
    with PipelineSession(session_options) as session:
        found = asyncio.run(_measure(session, options, parts))
    figures = DagFigures(machine=platform.processor() or platform.machine(), load=load, **found)
    write_atomically(options.out / "dag.json", figures.model_dump_json(indent=2).encode())
    if options.as_json:
        click.echo(json.dumps(to_json(figures), indent=2))
    else:
        print_figures(figures)
    return os.EX_OK


async def _measure(session: PipelineSession, options: DagOptions, parts: Sequence[str]) -> dict[str, Any]:
    # Deferred: it imports Ray, whose environment the session has made by now.
    from tercet_cloud.bench.dag import scheduling

    found: dict[str, Any] = {"cores": session.workers}
    if "makespan" in parts:
        found["makespan"] = scheduling.measure_makespans(session, options.nodes, options.rounds)
    if "overhead" in parts:
        found["overhead"] = scheduling.measure_overhead(session, options.large // 5, options.rounds)
        found["transitions_per_s"] = 1000 / found["overhead"][0].pipeline_ms
    if "growth" in parts:
        found["growth"] = [
            scheduling.measure_plain_growth(options.large // 10, options.large, 3),
            scheduling.measure_growth(session, options.large // 10, options.large, max(1, options.rounds // 2)),
        ]
    if "priority" in parts:
        found["inversion"] = await measure_inversion(session, options.high_runs)
    if "throughput" in parts:
        found["throughput"] = [
            await measure_throughput(session, pipelines, options.seconds) for pipelines in (10, 50, 100)
        ]
    if "durable" in parts:
        durable = wide("durable", options.large // 10, steps.nothing, durable=True)
        scheduling.run_once(session, durable)
        record = scheduling.run_once(session, durable)
        found["durable_nodes_per_s"] = len(durable.nodes) / scheduling.took_s(record)
    if "events" in parts:
        found["reaction"] = await measure_reaction(session, options.high_runs, options.seconds)
    return found


def to_json(figures: DagFigures) -> dict[str, Any]:
    """The figures with their ratios, and whether each goal is met."""
    data = figures.model_dump(mode="json")
    for name in ("overhead", "growth"):
        for row, part in zip(data[name], getattr(figures, name), strict=True):
            row["ratio"] = part.ratio
    if figures.inversion is not None:
        data["inversion"]["ratio"] = figures.inversion.ratio
    data["goals"] = {name: met for name, _, _, met in goals(figures)}
    return data


def goals(figures: DagFigures) -> list[tuple[str, str, str, bool]]:
    """Name, figure, goal, and whether it is met."""
    rows = []
    for makespan in figures.makespan:
        met = makespan.ratio <= MAKESPAN_GOAL
        shown = f"{makespan.ratio:.3f} ({makespan.own_ratio:.3f} of the times nodes took)"
        rows.append((f"makespan, nodes that {makespan.work}", shown, f"≤ {MAKESPAN_GOAL}", met))
    for part in figures.overhead:
        shown = f"{part.ratio:.2f} ({part.pipeline_ms:.2f} ms beside {part.bare_ms:.2f})"
        rows.append((f"overhead, {part.shape}", shown, f"≤ {OVERHEAD_GOAL}", part.ratio <= OVERHEAD_GOAL))
    for growth in figures.growth:
        shown = f"{growth.ratio:.2f} ({growth.small_us:.0f} → {growth.large_us:.0f} µs)"
        name = f"growth a node, {growth.what}, {growth.small_nodes} → {growth.large_nodes}"
        rows.append((name, shown, f"≤ {GROWTH_GOAL}", growth.ratio <= GROWTH_GOAL))
    if figures.transitions_per_s is not None:
        met = figures.transitions_per_s >= TRANSITIONS_GOAL
        rows.append(("nodes a second", f"{figures.transitions_per_s:.0f}", f"≥ {TRANSITIONS_GOAL:.0f}", met))
    if figures.inversion is not None:
        one = figures.inversion
        shown = f"{one.ratio:.2f} ({one.alone_p99_ms:.0f} → {one.loaded_p99_ms:.0f} ms)"
        rows.append(("p99 of high priority under load", shown, f"≤ {INVERSION_GOAL}", one.ratio <= INVERSION_GOAL))
    return rows


def print_figures(figures: DagFigures) -> None:
    console = Console()
    console.print(f"{figures.cores} workers on {figures.machine}; load before the bench {figures.load:.1f}")
    table = Table("goal", "measured", "wanted", "met")
    for name, shown, wanted, met in goals(figures):
        table.add_row(name, shown, wanted, "yes" if met else "no")
    console.print(table)
    if figures.throughput:
        table = Table("pipelines at once", "nodes/s", "nodes/s and core", "published, per core")
        for one in figures.throughput:
            published = "" if one.published_per_core is None else f"{one.published_per_core:.0f}"
            table.add_row(str(one.pipelines), f"{one.nodes_per_s:.0f}", f"{one.per_core:.0f}", published)
        console.print(table)
    if figures.durable_nodes_per_s is not None:
        console.print(f"durable: {figures.durable_nodes_per_s:.0f} nodes/s, every result on disk")
    if figures.reaction is not None:
        console.print(_reaction_words(figures.reaction))


def _reaction_words(one: Reaction) -> str:
    latency, rate = one.polled_p50_ms / one.event_p50_ms, one.event_per_s / one.polled_per_s
    published_latency = PUBLISHED_LATENCY_MS[0] / PUBLISHED_LATENCY_MS[1]
    return (
        f"from a change to its result: {one.event_p50_ms:.0f} ms by event, {one.polled_p50_ms:.0f} ms by polling "
        f"every {one.poll_every_ms:.0f} ms ({latency:.2f} times; published {published_latency:.2f})\n"
        f"{one.event_per_s:.0f} changes/s by event, {one.polled_per_s:.0f} by polling "
        f"({rate:.2f} times; published {PUBLISHED_RATE[1] / PUBLISHED_RATE[0]:.2f})"
    )
