"""A finished plan as a table for people: the chosen plan beside every baseline, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text

FILE_WIDTH = 160
_CHOSEN_STYLE, _BROKEN_STYLE = "bold green", "dim"
_NAME_WIDTH, _LEAST_ROUTE_WIDTH = 26, 24
# Up to why it is better than the rest; why others lost comes after.
_SENTENCES = 3


@dataclass(frozen=True)
class _Column:
    """A number of each row.

    `amount`: the column is left out if that is 0 for all rows. `spare`: columns of a higher one go first where the
    screen is too narrow.
    """

    heading: str
    cell: Callable[[PlanRow], str]
    amount: Callable[[PlanRow], float] = lambda row: 1.0
    spare: int = 0

    def width(self, rows: Sequence[PlanRow]) -> int:
        return max(len(text) for text in (*self.heading.splitlines(), *(self.cell(row) for row in rows)))


def _of(field: str, unit: float = 1.0) -> tuple[Callable[[PlanRow], str], Callable[[PlanRow], float]]:
    def amount(row: PlanRow) -> float:
        return float(getattr(row.prediction, field)) / unit

    return (lambda row: _number(amount(row))), amount


_COLUMNS = (
    _Column("total\nms", *_of("latency_ms")),
    _Column("device\nms", *_of("device_ms"), spare=1),
    _Column("link\nms", *_of("device_edge_ms"), spare=1),
    _Column("edge\nms", *_of("edge_ms"), spare=1),
    _Column("link\nms", *_of("edge_cloud_ms"), spare=1),
    _Column("cloud\nms", *_of("cloud_ms"), spare=1),
    _Column("KB to\nedge", *_of("device_edge_bytes", 1e3), spare=2),
    _Column("KB to\ncloud", *_of("edge_cloud_bytes", 1e3), spare=3),
    _Column("device\nmJ", *_of("device_energy_mj"), spare=4),
    _Column("cost a\nmillion", *_of("cost", 1e-6), spare=5),
    _Column("frames\nper s", lambda row: _number(1e3 / row.prediction.bottleneck_ms), spare=6),
    _Column("agree-\nment", lambda row: _agreement(row)),
    _Column("drop\nat most", lambda row: _drop(row), spare=2),
    _Column("label\nfound", lambda row: _labelled(row), lambda row: float(_labelled(row) != ""), spare=3),
)


def print_plan(report: PlanReport, console: Console, *, explain: bool) -> None:
    """The table, what constraints are broken, a few sentences (all with `explain`), and the circumstances.

    In a file it is as wide as it needs to be.
    """
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    rows = (report.chosen, *report.baselines)
    wanted = [item for item in _COLUMNS if any(map(item.amount, rows))]
    padding = int(_needed(wanted, rows, 1) <= console.width)
    columns = _fitting(wanted, rows, console.width, padding)
    console.print(_table(report, rows, columns, padding))
    for row in rows:
        if row.broken:
            _say(console, f"✗ {row.name}: {row.broken}", "dim")
    if dropped := len(wanted) - len(columns):
        _say(console, f"Too narrow for {dropped} more columns; plan.json and --json have all.", "dim")
    for line in report.explanation if explain else report.explanation[:_SENTENCES]:
        _say(console, line)
    for line in report.circumstances:
        _say(console, line, "dim")


def _table(report: PlanReport, rows: Sequence[PlanRow], columns: Sequence[_Column], padding: int) -> Table:
    table = Table(
        title=f"{report.model}: the best plan by {report.objective.partition(',')[0]}, and the baselines",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, padding, 0, 0),
    )
    table.add_column("plan", overflow="fold", max_width=_NAME_WIDTH)
    table.add_column("where it is cut, and how each cut is coded", overflow="fold", min_width=_LEAST_ROUTE_WIDTH)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for row in rows:
        chosen = row is report.chosen
        mark = "▶ " if chosen else "✗ " if row.broken else "  "
        table.add_row(
            mark + row.name,
            route_text(row.candidate, report.graph),
            *(column.cell(row) for column in columns),
            style=_CHOSEN_STYLE if chosen else _BROKEN_STYLE if row.broken else None,
            end_section=chosen,
        )
    return table


def _fitting(columns: Sequence[_Column], rows: Sequence[PlanRow], width: int, padding: int) -> list[_Column]:
    """The columns that there is room for."""
    kept = list(columns)
    while _needed(kept, rows, padding) > width:
        spare = max(column.spare for column in kept)
        if not spare:
            break
        kept = [column for column in kept if column.spare < spare]
    return kept


def _needed(columns: Sequence[_Column], rows: Sequence[PlanRow], padding: int) -> int:
    """Characters that the table takes with the least room for routes."""
    names = min(_NAME_WIDTH, max(len(row.name) + 2 for row in rows))
    widths = [names, _LEAST_ROUTE_WIDTH, *(column.width(rows) for column in columns)]
    return 1 + sum(width + 1 + padding for width in widths)


def _say(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, soft_wrap=True, highlight=False, markup=False)


def _number(value: float) -> str:
    if value == 0:
        return "–"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def _agreement(row: PlanRow) -> str:
    return f"{row.accuracy.agreement:.3f}" if row.accuracy else "?"


def _drop(row: PlanRow) -> str:
    return f"{row.accuracy.drop_bound:.3f}" if row.accuracy else ""


def _labelled(row: PlanRow) -> str:
    if row.accuracy is None or row.accuracy.labelled is None:
        return ""
    return f"{row.accuracy.labelled[0]:.3f}"
