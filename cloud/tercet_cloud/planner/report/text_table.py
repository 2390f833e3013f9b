"""A finished plan as a table for people: the chosen plan beside every baseline, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text

FILE_WIDTH = 190
_CHOSEN_STYLE, _BROKEN_STYLE = "bold green", "dim"


@dataclass(frozen=True)
class _Column:
    """`cell` of a row; `amount` decides whether the column says anything: all 0 and it is left out."""

    heading: str
    cell: Callable[[PlanRow], str]
    amount: Callable[[PlanRow], float] = lambda row: 1.0


_NUMBERS = (
    _Column("latency\nms", lambda row: _number(row.prediction.latency_ms)),
    _Column("device\nms", lambda row: _number(row.prediction.device_ms)),
    _Column(
        "dev–edge\nlink ms",
        lambda row: _number(row.prediction.device_edge_ms),
        lambda row: row.prediction.device_edge_ms,
    ),
    _Column("edge\nms", lambda row: _number(row.prediction.edge_ms), lambda row: row.prediction.edge_ms),
    _Column(
        "edge–cloud\nlink ms",
        lambda row: _number(row.prediction.edge_cloud_ms),
        lambda row: row.prediction.edge_cloud_ms,
    ),
    _Column("cloud\nms", lambda row: _number(row.prediction.cloud_ms), lambda row: row.prediction.cloud_ms),
    _Column(
        "dev–edge\nKB",
        lambda row: _number(row.prediction.device_edge_bytes / 1e3),
        lambda row: row.prediction.device_edge_bytes,
    ),
    _Column(
        "edge–cloud\nKB",
        lambda row: _number(row.prediction.edge_cloud_bytes / 1e3),
        lambda row: row.prediction.edge_cloud_bytes,
    ),
    _Column(
        "device\nmJ",
        lambda row: _number(row.prediction.device_energy_mj),
        lambda row: row.prediction.device_energy_mj,
    ),
    _Column("money per\nmillion", lambda row: _number(row.prediction.cost * 1e6), lambda row: row.prediction.cost),
    _Column("frames\nper s", lambda row: _number(1e3 / row.prediction.bottleneck_ms)),
    _Column("agree-\nment", lambda row: _agreement(row)),
    _Column("drop\nat most", lambda row: _drop(row)),
    _Column("labelled", lambda row: _labelled(row), lambda row: float(_labelled(row) != "")),
)


def print_plan(report: PlanReport, console: Console, *, explain: bool) -> None:
    """The table, the first sentence of the explanation (all of it with `explain`), and the circumstances.

    In a file it is as wide as it needs to be.
    """
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    console.print(plan_table(report))
    for line in report.explanation if explain else report.explanation[:2]:
        console.print(line, soft_wrap=True, highlight=False)
    for line in report.circumstances:
        console.print(line, style="dim", soft_wrap=True, highlight=False)


def plan_table(report: PlanReport) -> Table:
    """A row a plan; columns that are 0 everywhere are left out."""
    rows = [report.chosen, *report.baselines]
    table = Table(title=f"{report.model}: best plan by {report.objective}, and the baselines", title_justify="left")
    table.add_column("plan", overflow="fold", min_width=10)
    table.add_column("where it is cut, and the codec of each link", overflow="fold", min_width=24)
    columns = [column for column in _NUMBERS if any(column.amount(row) for row in rows)]
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    broken = any(row.broken for row in rows)
    if broken:
        table.add_column("constraint broken", overflow="fold", min_width=16)
    for row in rows:
        chosen = row is report.chosen
        cells = [f"▶ {row.name}" if chosen else row.name, route_text(row.candidate, report.graph)]
        cells += [column.cell(row) for column in columns]
        cells += [row.broken or ""] if broken else []
        table.add_row(*cells, style=_CHOSEN_STYLE if chosen else _BROKEN_STYLE if row.broken else None)
        if chosen:
            table.add_section()
    return table


def _number(value: float) -> str:
    if value == 0:
        return "–"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def _agreement(row: PlanRow) -> str:
    return f"{row.accuracy.agreement:.3f}" if row.accuracy else "not measured"


def _drop(row: PlanRow) -> str:
    return f"{row.accuracy.drop_bound:.3f}" if row.accuracy else ""


def _labelled(row: PlanRow) -> str:
    if row.accuracy is None or row.accuracy.labelled is None:
        return ""
    return f"{row.accuracy.labelled[0]:.3f}"
