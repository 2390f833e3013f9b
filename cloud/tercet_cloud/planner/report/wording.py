"""Numbers and plans in the few words a report has room for."""

from __future__ import annotations

from tercet_cloud.planner.candidate import Candidate, Prediction
from tercet_cloud.planner.cut_graph import CutGraph

TIERS = ("device", "edge", "cloud")
# What a frame's latency is made of, in the order it happens.
LATENCY_PARTS = ("device", "device–edge link", "edge", "edge–cloud link", "cloud")


def latency_parts(prediction: Prediction) -> tuple[float, ...]:
    """ms, one a name of LATENCY_PARTS."""
    return (
        prediction.device_ms,
        prediction.device_edge_ms,
        prediction.edge_ms,
        prediction.edge_cloud_ms,
        prediction.cloud_ms,
    )


def three_digits(value: float) -> str:
    """"0.123", "1.23", "12.3", "123", "1,234"."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.9995 or size == 0 else f"{value:.3f}"


def in_ms(value: float) -> str:
    return "0 ms" if value == 0 else f"{three_digits(value)} ms"


def in_bytes(value: float) -> str:
    """10^3 bytes to a KB."""
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("KB", "MB"):
        value /= 1000
        if value < 999.5:
            return f"{three_digits(value)} {unit}"
    return f"{three_digits(value / 1000)} GB"


def describe_plan(candidate: Candidate, graph: CutGraph) -> str:
    """Where a plan computes how much, and how it codes: "device 45 ops —int8→ edge 30 ops —raw→ cloud 25 ops"."""
    total = len(graph.operations)
    device, until_cloud = len(candidate.device), len(candidate.until_cloud)
    if device == total:
        return f"device all {total} ops"
    first, second = candidate.codecs
    words = [_share("device", device, total) if device else "device sends the input", f"—{first}→"]
    if device == until_cloud:
        words.append("edge passes on" if first == second else "edge codes anew")
    else:
        words.append(_share("edge", until_cloud - device, total))
    if until_cloud < total:
        words += [f"—{second}→", _share("cloud", total - until_cloud, total)]
    return " ".join(words)


def _share(tier: str, operations: int, total: int) -> str:
    return f"{tier} all {total} ops" if operations == total else f"{tier} {operations} ops"
