"""A plan table for people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.report.route_text import boundary_text, route_text
from tercet_cloud.planner.report.wording import in_ms
from tercet_cloud.planner.table.plan_table import PlanTable


def print_table(table: PlanTable, rows: Mapping[str, PlanRow], graph: CutGraph, console: Console) -> None:
    """The plans, how often each is the one to take, and what the table promises.

    Args:
        rows: the table's plans in its order, priced under the topology's own links.
    """
    shown = Table(title="Plan table", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("plan")
    shown.add_column("where it is cut, and how each cut is coded", overflow="fold", min_width=24)
    for heading in ("best\nin", "total\nas stated", "agree-\nment"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shares = _shares(table)
    for number, (name, row) in enumerate(rows.items()):
        shown.add_row(
            name,
            route_text(row.candidate, graph),
            f"{shares[number]:.0%}",
            in_ms(row.prediction.latency_ms),
            f"{row.accuracy.agreement:.3f}" if row.accuracy else "1",
        )
    console.print(shown)
    for line in table_lines(table, graph):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def table_lines(table: PlanTable, graph: CutGraph) -> tuple[str, ...]:
    met = [cell for cell in table.cells if cell.plan is not None]
    count = len(table.plans)
    plans = f"{count} plan{'s are' if count > 1 else ' is'}"
    blocks = ", ".join(boundary_text(names, graph) for names in table.blocks) or "none: every plan has one tier"
    lines = [
        f"{plans} enough for {len(met)} conditions: one of them is always the best or within {table.worst_gap:.1%} "
        f"of it. {len(table.pool)} different plans are the best somewhere.",
        f"Blocks end at: {blocks}. Found in {table.solve_s:.1f} s, {table.measured} plans measured for accuracy.",
    ]
    if len(met) < len(table.cells):
        lines.append(f"Under {len(table.cells) - len(met)} more conditions no plan keeps the constraints.")
    if table.worst_gap > table.slack:
        lines.append(f"No plans that share blocks come within {table.slack:.0%} everywhere.")
    if table.given_up:
        lines.append(f"Given up, too inaccurate wherever tried: {', '.join(table.given_up)}.")
    if table.stopped:
        lines.append("Not all was measured for accuracy: plans that were not are left out.")
    return tuple(lines)


def table_dict(table: PlanTable, rows: Mapping[str, PlanRow]) -> dict[str, Any]:
    """Plain data for plan.json; `plan` of a condition names one of `plans`."""
    names = list(rows)
    return {
        "slack": table.slack,
        "worst_gap": table.worst_gap,
        "blocks": [list(names) for names in table.blocks],
        "plans": names,
        "measured": table.measured,
        "stopped": table.stopped,
        "given_up": list(table.given_up),
        "conditions": [
            {
                "device_edge_mbps": cell.condition.links.device_edge_mbps,
                "device_edge_round_trip_ms": cell.condition.links.device_edge_round_trip_ms,
                "edge_cloud_mbps": cell.condition.links.edge_cloud_mbps,
                "edge_cloud_round_trip_ms": cell.condition.links.edge_cloud_round_trip_ms,
                "deadline_ms": cell.condition.deadline_ms,
                "best": cell.best,
                "plan": None if cell.plan is None else names[cell.plan],
                "gap": cell.gap,
            }
            for cell in table.cells
        ],
    }


def _shares(table: PlanTable) -> list[float]:
    """For each plan, the part of the conditions that can be met for which it is the one to take."""
    met = [cell.plan for cell in table.cells if cell.plan is not None]
    return [met.count(number) / len(met) for number in range(len(table.plans))]
