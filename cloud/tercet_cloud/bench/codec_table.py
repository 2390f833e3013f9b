"""The rate bench's report as tables for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from tercet_cloud.bench.codec_rate import RateReport, RateRow

FILE_WIDTH = 150


def print_rates(report: RateReport, console: Console) -> None:
    """One table; a section per boundary, image baselines first. In a file it is as wide as it needs to be."""
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    table = Table(title=f"{report.model}: bytes and agreement ({report.metric})", title_justify="left")
    for heading in ("boundary", "codec"):
        table.add_column(heading, no_wrap=True)
    numbers = ["bytes/frame", "× fewer", "agreement", "95 %"]
    numbers += ["top-1"] if report.uncut_top1 is not None else []
    for heading in (*numbers, "encode µs", "decode µs", "encode GB/s", "decode GB/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for rows in _by_boundary(report.rows):
        title = f"{rows[0].boundary}\n{rows[0].shape}\n{rows[0].share_before:.1%} of compute"
        for place, row in enumerate(rows):
            table.add_row(title.splitlines()[place] if place < 3 else "", *_cells(row))
        table.add_section()
    console.print(table)
    for refusal in report.refusals:
        console.print(f"{refusal.boundary}: {refusal.reason}", style="yellow", soft_wrap=True)
    if report.uncut_top1 is not None:
        console.print(f"Uncut top-1: {report.uncut_top1:.3f}.")
    overheads = [row.overhead_bytes for row in report.rows]
    console.print(f"Seal and header add {min(overheads)} to {max(overheads)} bytes to each frame.", soft_wrap=True)
    console.print(f"Evaluated on {report.evaluation}.", soft_wrap=True)
    console.print(f"Calibrated on {report.calibration}.", soft_wrap=True)
    console.print(f"{report.machine}; {report.seconds:.0f} s; {report.command}", style="dim", soft_wrap=True)


def _by_boundary(rows: Iterable[RateRow]) -> list[list[RateRow]]:
    groups: dict[str, list[RateRow]] = {}
    for row in rows:
        groups.setdefault(row.boundary, []).append(row)
    return list(groups.values())


def _cells(row: RateRow) -> list[str]:
    return [
        row.title,
        f"{row.bytes_per_frame:,.0f}",
        f"{row.ratio:.1f}",
        f"{row.agreement:.3f}",
        f"{row.agreement_low:.3f}–{row.agreement_high:.3f}",
        *([] if row.labelled_top1 is None else [f"{row.labelled_top1:.3f}"]),
        f"{row.encode_us:,.0f}",
        f"{row.decode_us:,.0f}",
        f"{row.encode_gb_s:.2f}",
        f"{row.decode_gb_s:.2f}",
    ]
