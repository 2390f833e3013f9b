"""Latency by where the device stops, split by tier and link: why the cut lies where it does."""

from __future__ import annotations

from collections.abc import Sequence

from tercet_cloud.drawing.markup import Markup, box, clip, element, join, line, picture, short, text, tooltip
from tercet_cloud.drawing.scales import LinearScale
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph
from tercet_cloud.planner.report.chart_axes import PART_CLASSES, Area, plain, stacked_parts, star
from tercet_cloud.planner.report.plan_report import CutPoint, PlanReport
from tercet_cloud.planner.report.wording import LATENCY_PARTS, in_bytes, in_ms, latency_parts

_WIDTH, _HEIGHT = 980.0, 360.0
_AREA = Area(56, 40, _WIDTH - 12, _HEIGHT - 48)
# Cuts slower than this many times the chosen plan or the middle one are cut off, or they would flatten the rest.
_CUT_OFF = 3.0
_WIDEST_BAR = 46.0
_NAME = 60


def draw_curve(report: PlanReport) -> Markup:
    """One SVG picture; a bar a cut, from the input on the left to the outputs on the right."""
    points = report.curve
    limit, hidden = _limit(report)
    step = min((_AREA.right - _AREA.left) / len(points), _WIDEST_BAR)
    height = LinearScale(0, limit, _AREA.bottom, _AREA.top)
    lefts = [_AREA.left + number * step for number in range(len(points))]
    width = step * 0.82 if step > 4 else step
    chosen = _chosen(report)
    parts = [
        _AREA.y_axis([(height(tick), plain(tick)) for tick in height.ticks()], "latency, ms"),
        _AREA.x_axis(_ticks(report, lefts, step), "operations computed on the device before the cut"),
        _bars(points, lefts, width, height),
    ]
    for left, point in zip(lefts, points, strict=True):
        if point.prediction.latency_ms > limit:
            parts.append(_beyond(left + width / 2, width))
    if hidden:
        words = f"▲ {hidden} beyond the scale, up to {in_ms(max(point.prediction.latency_ms for point in points))}"
        parts.append(text(_AREA.right, 16, words, text_anchor="end", class_="soft"))
    if chosen is not None:
        x = lefts[chosen] + width / 2
        y = height(min(points[chosen].prediction.latency_ms, limit))
        parts += [line(x, _AREA.bottom, x, y - 4, class_="mark"), star(x, y - 14)]
    parts += [
        box(left, _AREA.top, step, _AREA.bottom - _AREA.top, tooltip(_describe(point)), class_="hit")
        for left, point in zip(lefts, points, strict=True)
    ]
    return picture(
        _WIDTH, _HEIGHT, "Latency by where the device stops, split by tier and link", *parts, class_="chart"
    )


def _limit(report: PlanReport) -> tuple[float, int]:
    """The end of the scale in ms, and how many cuts lie beyond it."""
    times = sorted(point.prediction.latency_ms for point in report.curve)
    chosen = report.chosen.prediction.latency_ms
    limit = min(times[-1], _CUT_OFF * max(chosen, times[len(times) // 2]))
    limit = max(limit, 1e-6) * 1.04
    return limit, sum(time > limit for time in times)


def _bars(points: Sequence[CutPoint], lefts: Sequence[float], width: float, height: LinearScale) -> Markup:
    """One path a part of the latency: hundreds of cuts stay small."""
    paths = [""] * len(LATENCY_PARTS)
    for left, point in zip(lefts, points, strict=True):
        for part, low, high in stacked_parts(latency_parts(point.prediction)):
            low, high = min(low, height.high), min(high, height.high)
            if high > low:
                rise = height(low) - height(high)
                paths[part] += f"M{short(left)} {short(height(low))}h{short(width)}v{short(-rise)}h{short(-width)}z"
    return join(
        element("path", d=path, class_=kind) for path, kind in zip(paths, PART_CLASSES, strict=True) if path
    )


def _beyond(x: float, width: float) -> Markup:
    half = max(min(width / 2, 5), 1.5)
    foot, tip = short(_AREA.top - 2), short(_AREA.top - 9)
    points = f"{short(x - half)},{foot} {short(x + half)},{foot} {short(x)},{tip}"
    return element("polygon", points=points, class_="other")


def _ticks(report: PlanReport, lefts: Sequence[float], step: float) -> list[tuple[float, str]]:
    """At most a dozen cuts, each with the number of operations before it."""
    every = max(1, -(-len(lefts) // 12), round(34 / step))
    return [
        (lefts[number] + step * 0.41, str(_operations_before(report.graph, report.curve[number].boundary)))
        for number in range(0, len(lefts), every)
    ]


def _operations_before(graph: CutGraph, boundary: Sequence[str]) -> int:
    """How many operations it takes to have these tensors."""
    names = set(boundary)
    wanted = [tensor.producer for tensor in graph.tensors if tensor.name in names and tensor.producer != INPUT]
    before: dict[int, list[int]] = {}
    for first, second in graph.edges:
        before.setdefault(second, []).append(first)
    seen: set[int] = set()
    while wanted:
        operation = wanted.pop()
        if operation not in seen:
            seen.add(operation)
            wanted.extend(before.get(operation, ()))
    return len(seen)


def _chosen(report: PlanReport) -> int | None:
    """The cut of the chosen plan, if the curve has it."""
    candidate = report.chosen.candidate
    crossing = set(candidate.crossing(report.graph, 0))
    outputs = {tensor.name for tensor in report.graph.tensors if tensor.is_output}
    for number, point in enumerate(report.curve):
        if set(point.boundary) == (crossing or outputs):
            return number
    return None


def _describe(point: CutPoint) -> str:
    names = ", ".join(clip(name, _NAME) for name in point.boundary[:4])
    more = f" and {len(point.boundary) - 4} more" if len(point.boundary) > 4 else ""
    parts = [
        f"{name} {in_ms(value)}"
        for name, value in zip(LATENCY_PARTS, latency_parts(point.prediction), strict=True)
        if value
    ]
    codecs = " and ".join(clip(codec, 30) for codec in point.codecs)
    return (
        f"cut at {names}{more}\n{in_ms(point.prediction.latency_ms)}: {', '.join(parts)}\n"
        f"{codecs}; {in_bytes(point.prediction.device_edge_bytes)} device–edge"
    )
