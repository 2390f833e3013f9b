"""The graph of a pipeline as SVG: columns by the way from the inputs, colour by tier, frames by state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tercet_cloud.dag.checking import order
from tercet_cloud.dag.graph import place_of
from tercet_cloud.dag.outcomes import NodeState
from tercet_cloud.dag.records import NodeRecord, RunRecord
from tercet_cloud.dag.spec import Node, Pipeline
from tercet_cloud.dag.time_words import time_words
from tercet_cloud.drawing.markup import Markup, box, clip, element, join, picture, text, tooltip

_WIDTH, _HEIGHT = 168.0, 54.0
_GAP_X, _GAP_Y = 56.0, 18.0
_MARGIN, _HEAD = 20.0, 44.0
_NAME_CHARS, _TARGET_CHARS = 22, 26
# Beyond so many nodes a graph of boxes says nothing; `check` and `show` still print every one.
MAX_NODES = 400
_TIERS = {"device": "#e8f3e4", "edge": "#e5eefb", "cloud": "#f6ecdf"}
_INK, _FAINT = "#1f2933", "#7b8794"
_STATES = {
    NodeState.DONE: "#2f855a",
    NodeState.RUNNING: "#2b6cb0",
    NodeState.FAILED: "#c53030",
    NodeState.EXPIRED: "#c53030",
    NodeState.CANCELLED: "#b7791f",
    NodeState.NOT_RUN: "#b7791f",
    NodeState.SKIPPED: "#a0aec0",
}
_FONT = "system-ui, sans-serif"


@dataclass(frozen=True)
class _Place:
    x: float
    y: float


def graph_picture(pipeline: Pipeline, record: RunRecord | None = None) -> Markup:
    """An SVG picture of a checked pipeline, with the states and times of a run of it."""
    shown = list(pipeline.nodes)[:MAX_NODES]
    places = _layout(pipeline, shown)
    width = max(place.x for place in places.values()) + _WIDTH + _MARGIN
    height = max(place.y for place in places.values()) + _HEIGHT + _MARGIN
    edges = [
        _edge(places[before], places[name])
        for name in shown
        for before in pipeline.nodes[name].upstream()
        if before in places
    ]
    boxes = [
        _node(name, pipeline.nodes[name], places[name], record.node(name) if record else None) for name in shown
    ]
    left = len(pipeline.nodes) - len(shown)
    title = f"{pipeline.name}" + (f", run {record.run}: {record.state.value}" if record else "")
    title += f" (and {left} more nodes)" if left else ""
    return picture(
        width,
        height,
        f"Graph of pipeline {title}",
        box(0, 0, width, height, fill="#ffffff"),
        text(_MARGIN, 24, title, font_size=15, font_weight="600", fill=_INK),
        _legend(),
        join(edges),
        join(boxes),
        font_family=_FONT,
        xmlns="http://www.w3.org/2000/svg",
    )


def _layout(pipeline: Pipeline, shown: list[str]) -> Mapping[str, _Place]:
    """Columns by the longest way from the start; rows so that a node is near those it reads."""
    wanted = set(shown)
    column: dict[str, int] = {}
    for name in order(pipeline):
        column[name] = 1 + max((column[before] for before in pipeline.nodes[name].upstream()), default=-1)
    columns: dict[int, list[str]] = {}
    for name in order(pipeline):
        if name in wanted:
            columns.setdefault(column[name], []).append(name)
    places: dict[str, _Place] = {}
    deepest = max(len(names) for names in columns.values())
    for number in sorted(columns):
        names = sorted(columns[number], key=lambda name: _height_before(pipeline, name, places))
        top = _HEAD + _MARGIN + (deepest - len(names)) * (_HEIGHT + _GAP_Y) / 2
        for row, name in enumerate(names):
            places[name] = _Place(_MARGIN + number * (_WIDTH + _GAP_X), top + row * (_HEIGHT + _GAP_Y))
    return places


def _height_before(pipeline: Pipeline, name: str, places: Mapping[str, _Place]) -> float:
    heights = [places[before].y for before in pipeline.nodes[name].upstream() if before in places]
    return sum(heights) / len(heights) if heights else 0.0


def _edge(start: _Place, end: _Place) -> Markup:
    x1, y1, x2, y2 = start.x + _WIDTH, start.y + _HEIGHT / 2, end.x, end.y + _HEIGHT / 2
    middle = (x1 + x2) / 2
    way = f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2 - 6:.1f} {y2:.1f}"
    tip = f"M{x2 - 7:.1f} {y2 - 4:.1f}L{x2:.1f} {y2:.1f}L{x2 - 7:.1f} {y2 + 4:.1f}z"
    return join(
        [
            element("path", d=way, fill="none", stroke=_FAINT, stroke_width=1.4),
            element("path", d=tip, fill=_FAINT),
        ]
    )


def _node(name: str, node: Node, place: _Place, record: NodeRecord | None) -> Markup:
    where = place_of(node.tier, node.at, split=node.deployment is not None)
    colour = _STATES.get(record.state, _FAINT) if record else _FAINT
    lines = [
        tooltip(_words(name, node, where, record)),
        box(place.x, place.y, _WIDTH, _HEIGHT, rx=8, fill=_tier_colour(where), stroke=colour, stroke_width=2),
        text(place.x + 10, place.y + 19, clip(name, _NAME_CHARS), font_size=13, font_weight="600", fill=_INK),
        text(
            place.x + 10,
            place.y + 33,
            clip(("each: " if node.map else "") + node.target.rpartition(":")[2], _TARGET_CHARS),
            font_size=10,
            fill=_FAINT,
        ),
    ]
    status = where if record is None else " · ".join(part for part in (record.state.value, _time(record)) if part)
    lines.append(text(place.x + 10, place.y + 47, clip(status, _TARGET_CHARS), font_size=10, fill=colour))
    return element("g", *lines)


def _words(name: str, node: Node, where: str, record: NodeRecord | None) -> str:
    words = f"{name}: {node.kind} {node.target} on {where}"
    if record is not None:
        words += f"; {record.state.value}"
        words += f" after {record.attempts} tries" if record.attempts > 1 else ""
        words += f": {record.reason}" if record.reason else ""
    return words


def _time(record: NodeRecord) -> str:
    items = "" if record.items is None else f"{record.ended_items}/{record.items}"
    return " · ".join(part for part in (items, time_words(record.took_s)) if part)


def _legend() -> Markup:
    parts = []
    for number, (tier, colour) in enumerate(_TIERS.items()):
        x = _MARGIN + number * 80
        parts.append(box(x, 34, 12, 12, rx=3, fill=colour, stroke=_FAINT))
        parts.append(text(x + 17, 44, tier, font_size=11, fill=_INK))
    return join(parts)


def _tier_colour(where: str) -> str:
    return _TIERS[where.partition(":")[0]]
