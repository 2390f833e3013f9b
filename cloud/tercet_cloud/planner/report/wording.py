"""Numbers in the few words a report has room for."""

from __future__ import annotations

from tercet_cloud.planner.costs.candidate import Prediction

TIERS = ("device", "edge", "cloud")
# What a plan's line is clipped to on a page: codecs may have any name.
ROUTE_LENGTH = 160
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
    """For example "0.123", "1.23", "12.3", "123", "1,234"."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.9995 else f"{value:.3f}"


def in_ms(value: float) -> str:
    return f"{three_digits(value)} ms"


def in_bytes(value: float) -> str:
    """10^3 bytes to a KB."""
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("KB", "MB"):
        value /= 1000
        if value < 999.5:
            return f"{three_digits(value)} {unit}"
    return f"{three_digits(value / 1000)} GB"
