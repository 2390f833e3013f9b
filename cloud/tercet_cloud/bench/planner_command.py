"""`tercet bench planner`: how quickly plans are found, and how good they are when they are really run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tercet.models.store import Store
from tercet.process import Shutdown
from tercet_cloud.bench.oracle_conditions import Slowdowns
from tercet_cloud.bench.oracle_report import print_oracle
from tercet_cloud.bench.planner_fleet import time_fleet
from tercet_cloud.bench.planner_oracle import OracleOptions, bench_oracle
from tercet_cloud.bench.planner_solve import MODEL, measure_solving
from tercet_cloud.bench.publishing import machine, measure_and_publish
from tercet_cloud.models.catalog import fetch_model

PARTS = ("solve", "fleet", "oracle")


@dataclass(frozen=True)
class PlannerOptions:
    """The command's options; see `tercet bench planner --help`."""

    parts: Sequence[str]
    quick: bool
    as_json: bool
    out: Path
    store: Path


async def bench_planner(options: PlannerOptions, shutdown: Shutdown) -> int:
    """Measure, print, and write planner.json; exit status 0 once measured, whether or not goals are met."""
    return await measure_and_publish(
        _measure(options), options.out / "planner.json", _print, shutdown, as_json=options.as_json
    )


async def _measure(options: PlannerOptions) -> dict[str, Any]:
    progress = Console(stderr=True)

    def say(text: str) -> None:
        progress.print(text, style="dim", soft_wrap=True, highlight=False)

    store = Store(options.store.resolve())
    parts = options.parts or PARTS
    report: dict[str, Any] = {
        "command": "tercet bench planner" + (" --quick" if options.quick else ""),
        "machine": machine(),
    }
    if "solve" in parts:
        say("solving")
        report["solve"] = await asyncio.to_thread(measure_solving, store)
    if "fleet" in parts:
        say("fleet")
        await asyncio.to_thread(fetch_model, store, MODEL)
        report["fleet"] = await asyncio.to_thread(time_fleet, store)
    if "oracle" in parts:
        report["oracle"] = await bench_oracle(
            OracleOptions(options.quick, options.store, options.out, Slowdowns()), say
        )
    return report


def _print(report: dict[str, Any], console: Console) -> None:
    if solve := report.get("solve"):
        _print_solving(solve, console)
    if fleet := report.get("fleet"):
        console.print(
            f"made-up fleet of {fleet['devices']:,} devices, {fleet['cohorts']} cohorts, {fleet['edges']} edges: "
            f"{fleet['wall_s']} s (≤ {fleet['goal']['wall_s']} s)",
            highlight=False,
        )
    if oracle := report.get("oracle"):
        print_oracle(oracle, console)
        for network, gain in oracle["joint"].items():
            console.print(
                f"{network}, cut and codec together against cut first: latency {gain['latency_ratio']}×, "
                f"frames per second {gain['throughput_ratio']}× (geometric means, predicted; published mark "
                f"{gain['mark']['latency_ratio']}× and {gain['mark']['throughput_ratio']}×)",
                highlight=False,
                soft_wrap=True,
            )


def _print_solving(solve: dict[str, Any], console: Console) -> None:
    table = Table(title=f"Solving, ms; costs are {solve['costs'].partition(';')[0]}", title_justify="left")
    networks = solve["networks"]
    columns = list(next(iter(networks.values())))
    table.add_column("network")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, row in networks.items():
        table.add_row(name, *(f"{row[column]:g}" for column in columns))
    console.print(table)
    goals = solve["goals"]
    for objective, found in (("latency", solve["plan_table"]), ("throughput", solve["plan_table_throughput"])):
        console.print(
            f"plan table of {found['model']} for {objective}: {found['plans']} plans for {found['conditions']} "
            f"conditions in {found['plan_table_s']} s (≤ {goals['plan_table_s']:g} s)",
            highlight=False,
        )
    console.print(f"goals: one pair {goals['one_pair_ms']:g} ms, menu {goals['menu_ms']:g} ms", highlight=False)
