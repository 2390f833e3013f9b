"""The demo's summary as tables for people."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tercet_cloud.demo.adaptive_report import audit_table, cascade_table, step_table
from tercet_cloud.demo.summary import Summary

_PARTS = {
    "device": "device",
    "device_edge": "link device–edge",
    "edge": "edge",
    "edge_cloud": "link edge–cloud",
    "cloud": "cloud",
}


FILE_WIDTH = 130


def print_report(summary: Summary, console: Console) -> None:
    """In a file it is as wide as it needs to be."""
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    console.print(render_report(summary))


def render_report(summary: Summary) -> RenderableType:
    return Group(
        _plans(summary),
        _samples(summary),
        _routes(summary),
        _codecs(summary),
        _latency(summary),
        *([step_table(summary.step)] if summary.step else []),
        *([cascade_table(summary.cascade), audit_table(summary.cascade)] if summary.cascade else []),
        _processes(summary),
        Text(f"\n{summary.model}. {summary.setting}", style="dim"),
        _verdict(summary),
    )


def _plans(summary: Summary) -> Table:
    table = Table(title="Plans, one device and one frame at a time", title_justify="left")
    table.add_column("plan", no_wrap=True)
    table.add_column("where it is cut, and the codec of each link", overflow="fold")
    for heading in ("predicted\nms", "measured\nms", "off", "bytes\ndev→edge", "agree-\nment"):
        table.add_column(heading, justify="right", no_wrap=True)
    for plan in summary.plans:
        chosen = plan is summary.plans[0]
        table.add_row(
            f"▶ {plan.plan}" if chosen else plan.plan,
            plan.route + (f" ({plan.note})" if plan.note else ""),
            f"{plan.predicted_ms:.1f}",
            f"{plan.measured_ms:.1f}",
            f"{plan.measured_ms / plan.predicted_ms - 1:+.0%}",
            f"{plan.device_edge_bytes:,.0f}" if plan.device_edge_bytes else "–",
            f"{plan.agreement:.3f}",
            style="bold green" if chosen else None,
        )
        if chosen:
            table.add_section()
    table.caption = summary.setting
    return table


def _samples(summary: Summary) -> Table:
    table = Table(title="Sample photos", title_justify="left")
    for heading, justify in (("photo", "left"), ("label", "left"), ("", "right"), ("uncut model", "left")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    table.add_column("tiers")
    table.add_column("ms", justify="right")
    for sample in summary.samples:
        table.add_row(
            sample.photo,
            sample.label,
            f"{sample.confidence:.0%}",
            "same" if sample.label == sample.reference_label else sample.reference_label,
            "→".join(sample.tiers) + (" (degraded)" if sample.degraded else ""),
            f"{sample.latency_ms:.1f}",
        )
    return table


def _routes(summary: Summary) -> Text:
    routes = [f"{count} frames: {route}" for route, count in summary.routes.items()]
    return Text("Routes (tier, from boundary → to boundary)\n  " + "\n  ".join(routes) + "\n")


def _codecs(summary: Summary) -> Table:
    table = Table(title="By plan, all devices at once", title_justify="left")
    table.add_column("plan")
    for heading in ("agreement", "p50 ms", "p99 ms", "bytes device→edge", "bytes edge→cloud"):
        table.add_column(heading, justify="right")
    for plan, agreement in summary.agreement.items():
        latency = summary.latency_ms_by_plan[plan]
        table.add_row(
            plan,
            f"{agreement:.3f}",
            f"{latency['p50']:.2f}",
            f"{latency['p99']:.2f}",
            f"{summary.bytes_per_frame['device_edge'][plan]:,.0f}",
            f"{summary.bytes_per_frame['edge_cloud'][plan]:,.0f}",
        )
    return table


def _latency(summary: Summary) -> Table:
    table = Table(title="Where the time goes", title_justify="left")
    table.add_column("part")
    table.add_column("share", justify="right")
    table.add_column("")
    for part, share in summary.share_of_latency.items():
        table.add_row(_PARTS[part], f"{share:.1%}", "█" * round(share * 40))
    p50, p99 = summary.latency_ms["p50"], summary.latency_ms["p99"]
    table.caption = f"all frames: p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    return table


def _processes(summary: Summary) -> Table:
    table = Table(title="Processes, highest resident memory seen", title_justify="left")
    table.add_column("tier")
    table.add_column("node")
    for heading in ("pid", "MB", "MB in child processes"):
        table.add_column(heading, justify="right")
    for process in summary.processes:
        table.add_row(
            str(process["tier"]),
            str(process["node"]),
            str(process["pid"]),
            str(process["rss_mb"]),
            str(process["children_rss_mb"]),
        )
    return table


def _verdict(summary: Summary) -> Text:
    text = Text(
        f"{summary.answered} of {summary.frames} frames answered, {summary.lost} lost, "
        f"{summary.degraded} degraded; raw differs from the uncut model by at most "
        f"{summary.max_abs_error_raw:.1e}."
    )
    for failure in summary.failures:
        text.append(f"\nNot as promised: {failure}", style="bold red")
    for lost in summary.lost_frames[:20]:
        text.append(f"\n  lost: {lost}", style="red")
    return text
