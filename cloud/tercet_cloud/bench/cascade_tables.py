"""`tercet bench cascade` for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from tercet_cloud.bench.cascade_report import CascadeReport
from tercet_cloud.bench.cascade_rows import GOAL_NEVER_LARGE, GOAL_RELATIVE_ACCURACY, BreachRow, Ends, Spread
from tercet_cloud.bench.cascade_trials import BreachRate

RowT = TypeVar("RowT")


def print_report(report: CascadeReport, console: Console) -> None:
    for table in (networks_table(report), savings_table(report), breaches_table(report), drifts_table(report)):
        console.print(table)
    clean = report.clean
    console.print(
        f"Before the drifts, {clean.frames:,} frames: exits closed {clean.closings} times, "
        f"{clean.false_closings} of them "
        f"with the true risk within the bound; {clean.audited:.1%} of frames audited; the large model answers "
        f"{clean.to_large:.1%} of frames, without audit {clean.to_large_without:.1%}.",
        soft_wrap=True,
    )
    for refusal in report.refusals:
        console.print(f"Not measured: {refusal}", soft_wrap=True)
    console.print(f"{report.machine}; {report.seconds:.0f} s; {report.command}", soft_wrap=True)


def networks_table(report: CascadeReport) -> Table:
    table = _table(
        f"Networks, trained on {report.trained_on:,} pictures of {report.data}; the pool has {report.pool:,} more",
        ("network",),
        ("MACs", "ms a frame", "right", "as the large one", "temperature", "training s"),
    )
    for row in report.networks:
        table.add_row(
            row.name,
            f"{row.macs:,}",
            f"{row.ms:.4f}",
            f"{row.right:.4f}",
            f"{row.agreement:.4f}",
            f"{row.temperature:.2f}",
            f"{row.train_s:.0f}",
        )
    return table


def savings_table(report: CascadeReport) -> Table:
    table = _table(
        f"Certified thresholds, δ {report.delta:g}, {report.calibration:,} calibration frames: median (5–95 %) of "
        f"calibrations. Goal: ≥ {GOAL_NEVER_LARGE:.0%} at ≥ {GOAL_RELATIVE_ACCURACY:.0%}",
        ("wrong by", "score"),
        (
            "α",
            "exits",
            "opened",
            "never large",
            "accuracy / large's",
            "risk of exits",
            "MACs",
            "ms",
            "calibrations at goal",
        ),
    )
    for row in _sections(table, report.savings, lambda row: (row.target, row.alpha, row.stages)):
        table.add_row(
            row.target,
            row.score,
            f"{row.alpha:g}",
            str(row.stages),
            " ".join(f"{share:.0%}" for share in row.opened),
            _spread(row.never_large),
            _spread(row.relative_accuracy),
            _spread(row.risk),
            f"{row.macs:.1%}",
            f"{row.ms:.1%}",
            f"{row.goal_met:.0%} of {row.trials}",
        )
    return table


def breaches_table(report: CascadeReport) -> Table:
    table = _table(
        f"How often some stage's exits had more than α = {report.alpha:g} wrong; promised: ≤ δ = {report.delta:g}",
        ("calibration frames from", "wrong by", "score"),
        ("exits", "certified (95 %)", "proved", "uncertified (95 %)", "proved", "never large, both"),
    )
    for row in _sections(table, report.breaches, lambda row: (row.population, row.target, row.stages)):
        table.add_row(
            row.population,
            row.target or "made",
            row.score or "made",
            str(row.stages),
            _rate(row.certified),
            str(row.certified.proved),
            _rate(row.uncertified),
            str(row.uncertified.proved),
            _both(row),
        )
    return table


def drifts_table(report: CascadeReport) -> Table:
    table = _table(
        f"Drifts, {report.phase_frames:,} frames clean, drifted, clean; {report.stream_score}, α {report.alpha:g}, "
        f"{report.share:.0%} of confident frames audited: median stream / worst",
        ("drift",),
        (
            "harmful",
            "risk without audit",
            "frames until restored",
            "wrong until then",
            "over α after",
            "stream's risk",
            "without audit",
            "to large: before, in, after",
            "frames until back",
        ),
    )
    most = report.phase_frames
    for row in report.drifts:
        table.add_row(
            row.drift,
            f"{row.harmful} of {row.streams}",
            _ends(row.risk_without, "{:.3f}"),
            _ends(row.restored_after, "{:,.0f}", most),
            _ends(row.wrong_before, "{:,.0f}"),
            _ends(row.unsafe_after, "{:.0%}"),
            _ends(row.stream_risk, "{:.3f}"),
            _ends(row.stream_risk_without, "{:.3f}"),
            " ".join(f"{share:.0%}" for share in row.to_large),
            _ends(row.back_after, "{:,.0f}", most),
        )
    return table


def _table(title: str, words: Iterable[str], numbers: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in words:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _sections(table: Table, rows: Sequence[RowT], key: Callable[[RowT], object]) -> Iterator[RowT]:
    """The rows, with a line in the table wherever `key` changes."""
    for index, row in enumerate(rows):
        if index and key(row) != key(rows[index - 1]):
            table.add_section()
        yield row


def _spread(values: Spread) -> str:
    return f"{values.median:.3f} ({values.low:.3f}–{values.high:.3f})"


def _rate(rate: BreachRate) -> str:
    return f"{rate.rate:.3f} ({rate.low:.3f}–{rate.high:.3f})"


def _both(row: BreachRow) -> str:
    return " / ".join(f"{share:.3f}" for share in row.never_large) if row.never_large else ""


def _ends(values: Ends, style: str, most: float | None = None) -> str:
    """Median / worst; where a figure is none, that it is over `most`, or nothing."""
    missing = "" if most is None else f"> {most:,}"
    return " / ".join(missing if value is None else style.format(value) for value in (values.median, values.worst))
