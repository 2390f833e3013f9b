"""When each node of a run ran, as SVG: a row for every node, a bar for every call, on one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tercet_cloud.dag.outcomes import NodeState
from tercet_cloud.dag.records import NodeRecord, RunRecord
from tercet_cloud.dag.time_words import time_words
from tercet_cloud.drawing.markup import Markup, box, clip, element, join, line, picture, text, tooltip
from tercet_cloud.drawing.scales import LinearScale

_WIDTH, _LABELS, _RIGHT = 900.0, 170.0, 24.0
_ROW, _LANE, _HEAD, _FOOT = 22.0, 12.0, 46.0, 30.0
_MAX_ROWS, _MAX_LANES = 400, 16
_LEAST_BAR = 1.5
_NAME_CHARS = 24
_TIERS = {"device": "#68a357", "edge": "#4a7fc1", "cloud": "#c88a3d"}
_BAD = "#c53030"
_INK, _FAINT = "#1f2933", "#cbd2d9"


@dataclass(frozen=True)
class _Bar:
    started_s: float
    ended_s: float
    good: bool
    words: str


def gantt_picture(record: RunRecord) -> Markup:
    """An SVG picture of a run; nodes that did not run are left out."""
    rows = sorted(
        ((node, _bars(node, record)) for node in record.nodes if node.started_s is not None),
        key=lambda row: row[0].started_s or 0.0,
    )[:_MAX_ROWS]
    begin_s = min([record.started_s or record.submitted_s, *(bar.started_s for _, bars in rows for bar in bars)])
    end_s = max([begin_s + 1e-3, *(bar.ended_s for _, bars in rows for bar in bars)])
    scale = LinearScale(0.0, (end_s - begin_s) * 1000, _LABELS, _WIDTH - _RIGHT)
    drawn, y = list[Markup](), _HEAD
    for node, bars in rows:
        lanes = _lanes(bars)
        height = max(_ROW, len(lanes) * _LANE + 6)
        drawn.append(_row(node, lanes, y, height, begin_s, scale))
        y += height
    title = f"run {record.run}: {record.state.value} in {time_words(end_s - begin_s)}"
    return picture(
        _WIDTH,
        y + _FOOT,
        f"Times of {title}",
        box(0, 0, _WIDTH, y + _FOOT, fill="#ffffff"),
        text(16, 24, title, font_size=15, font_weight="600", fill=_INK),
        _axis(scale, y),
        join(drawn),
        font_family="system-ui, sans-serif",
        xmlns="http://www.w3.org/2000/svg",
    )


def _bars(node: NodeRecord, record: RunRecord) -> list[_Bar]:
    open_until_s = record.ended_s or max(
        [one.ended_s or one.started_s or 0.0 for one in record.nodes] + [record.submitted_s]
    )
    if node.items is not None:
        return [
            _Bar(
                item.started_s,
                item.ended_s or open_until_s,
                item.state is not NodeState.FAILED,
                f"{node.node} {item.item}: {item.state.value} {item.reason}".strip(),
            )
            for item in node.each
            if item.started_s is not None
        ]
    assert node.started_s is not None
    good = node.state not in (NodeState.FAILED, NodeState.EXPIRED)
    words = f"{node.node}: {node.state.value} {node.reason}".strip()
    return [_Bar(node.started_s, max(node.ended_s or open_until_s, node.started_s), good, words)]


def _lanes(bars: Sequence[_Bar]) -> list[list[_Bar]]:
    """Bars that overlap lie below each other, up to a number of lanes; what is beyond shares the last."""
    lanes: list[list[_Bar]] = [[]]
    for bar in sorted(bars, key=lambda one: one.started_s):
        free = next((lane for lane in lanes if not lane or lane[-1].ended_s <= bar.started_s), None)
        if free is None and len(lanes) < _MAX_LANES:
            lanes.append(free := [])
        (free if free is not None else lanes[-1]).append(bar)
    return lanes


def _row(
    node: NodeRecord, lanes: Sequence[Sequence[_Bar]], y: float, height: float, begin_s: float, scale: LinearScale
) -> Markup:
    colour = _TIERS[node.place.partition(":")[0]]
    parts = [
        text(_LABELS - 10, y + 15, clip(node.node, _NAME_CHARS), font_size=12, fill=_INK, text_anchor="end"),
        line(_LABELS, y + height, _WIDTH - _RIGHT, y + height, stroke=_FAINT, stroke_width=0.5),
    ]
    for number, lane in enumerate(lanes):
        for bar in lane:
            left, right = scale((bar.started_s - begin_s) * 1000), scale((bar.ended_s - begin_s) * 1000)
            parts.append(
                box(
                    left,
                    y + 4 + number * _LANE,
                    max(_LEAST_BAR, right - left),
                    _LANE - 2,
                    tooltip(f"{bar.words} ({(bar.ended_s - bar.started_s) * 1000:.1f} ms)"),
                    rx=2,
                    fill=colour if bar.good else _BAD,
                )
            )
    return element("g", *parts)


def _axis(scale: LinearScale, bottom: float) -> Markup:
    parts = []
    for tick in scale.ticks(8):
        x = scale(tick)
        parts.append(line(x, _HEAD - 6, x, bottom, stroke=_FAINT, stroke_width=0.7))
        words = f"{tick:g} ms" if scale.high < 10_000 else f"{tick / 1000:g} s"
        parts.append(text(x, bottom + 18, words, font_size=11, fill=_INK, text_anchor="middle"))
    return join(parts)
