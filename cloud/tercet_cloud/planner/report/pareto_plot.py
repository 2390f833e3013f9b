"""Latency against bytes on the device–edge link: the front, the chosen plan, the baselines and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tercet_cloud.drawing.markup import Markup, clip, element, line, picture, short, text, tooltip
from tercet_cloud.drawing.scales import LinearScale, LogScale
from tercet_cloud.planner.report.chart_axes import Area, legend, mark_swatch, plain, star
from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.report.wording import ROUTE_LENGTH, in_bytes, in_ms

_WIDTH, _HEIGHT = 980.0, 400.0
_AREA = Area(60, 40, _WIDTH - 20, _HEIGHT - 48)
# Left of the logarithmic axis: plans that send nothing.
_NOTHING_X, _AXIS_LEFT = 92.0, 140.0
# Beyond this, latency is drawn by its logarithm too.
_LINEAR_RANGE = 12.0
_MOST_OTHERS = 400
_NEAR = 18.0


def draw_pareto(report: PlanReport) -> Markup:
    """One SVG picture. Numbers are those of the table of baselines."""
    return _Plot(report).render()


def pareto_legend(report: PlanReport) -> Markup:
    entries = [
        (mark_swatch(star(8, 8, 7)), "chosen"),
        (mark_swatch(element("circle", cx=8, cy=8, r=4.5, class_="point")), "on the front"),
        (
            mark_swatch(element("circle", cx=8, cy=8, r=5, class_="baseline")),
            "baseline, by its number in the table",
        ),
        (mark_swatch(element("circle", cx=8, cy=8, r=3, class_="other")), "other plans considered"),
    ]
    return legend(entries)


@dataclass(frozen=True)
class _Spot:
    x: float
    y: float


class _Plot:
    def __init__(self, report: PlanReport) -> None:
        self._report = report
        self._others = report.considered[:_MOST_OTHERS]
        rows = [report.chosen, *report.baselines, *report.pareto, *self._others]
        sizes = [row.prediction.device_edge_bytes for row in rows if row.prediction.device_edge_bytes > 0] or [1.0]
        self._nothing = any(row.prediction.device_edge_bytes <= 0 for row in rows)
        left = _AXIS_LEFT if self._nothing else _AREA.left + 16
        low, high = min(sizes) / 1.15, max(sizes) * 1.15
        if high / low < 4:
            low, high = low / 2, high * 2
        self._x = LogScale(low, high, left, _AREA.right)
        times = [max(row.prediction.latency_ms, 1e-6) for row in rows]
        self._y: LinearScale | LogScale
        if max(times) / min(times) > _LINEAR_RANGE:
            self._y = LogScale(min(times) / 1.2, max(times) * 1.2, _AREA.bottom, _AREA.top)
        else:
            self._y = LinearScale(0, max(times) * 1.08, _AREA.bottom, _AREA.top)

    def render(self) -> Markup:
        report = self._report
        words = "latency, ms" + (", logarithmic" if isinstance(self._y, LogScale) else "")
        parts = [
            _AREA.y_axis([(self._y(tick), plain(tick)) for tick in self._y.ticks()], words),
            _AREA.x_axis(self._x_ticks(), "bytes over the device–edge link per frame, logarithmic"),
        ]
        if self._nothing:
            x = (_NOTHING_X + _AXIS_LEFT) / 2
            parts.append(line(x, _AREA.top, x, _AREA.bottom, class_="grid", stroke_dasharray="3 4"))
        parts += [self._dot(row, "other", 3) for row in self._others]
        parts.append(self._front(report.pareto))
        parts += [self._dot(row, "point", 4.5) for row in report.pareto]
        parts += self._baselines(report.baselines)
        spot = self._spot(report.chosen)
        parts.append(element("g", tooltip(self._describe(report.chosen)), star(spot.x, spot.y, 10)))
        return picture(_WIDTH, _HEIGHT, "Latency against bytes on the device–edge link", *parts, class_="chart")

    def _x_ticks(self) -> list[tuple[float, str]]:
        ticks = [(self._x(tick), in_bytes(tick).replace(".00", "").replace(".0 ", " ")) for tick in self._x.ticks()]
        return [(_NOTHING_X, "nothing"), *ticks] if self._nothing else ticks

    def _spot(self, row: PlanRow) -> _Spot:
        size = row.prediction.device_edge_bytes
        return _Spot(self._x(size) if size > 0 else _NOTHING_X, self._y(max(row.prediction.latency_ms, 1e-6)))

    def _dot(self, row: PlanRow, kind: str, radius: float) -> Markup:
        spot = self._spot(row)
        return element("circle", tooltip(self._describe(row)), cx=spot.x, cy=spot.y, r=radius, class_=kind)

    def _front(self, rows: Sequence[PlanRow]) -> Markup:
        """Steps: between two plans of the front, the lighter one's latency is what can be had."""
        spots = sorted((self._spot(row) for row in rows), key=lambda spot: (spot.x, -spot.y))
        if not spots:
            return Markup("")
        path = f"M{short(spots[0].x)} {short(spots[0].y)}"
        path += "".join(f"H{short(spot.x)}V{short(spot.y)}" for spot in spots[1:])
        return element("path", d=path, class_="front")

    def _baselines(self, rows: Sequence[PlanRow]) -> list[Markup]:
        """A ring each; those that coincide share a label with all their numbers."""
        labels: list[tuple[_Spot, list[int]]] = []
        parts = []
        for number, row in enumerate(rows, 1):
            spot = self._spot(row)
            parts.append(self._dot(row, "baseline", 5))
            near = next((found for found in labels if _close(found[0], spot)), None)
            if near:
                near[1].append(number)
            else:
                labels.append((spot, [number]))
        for spot, numbers in labels:
            words = ", ".join(map(str, numbers))
            side = "end" if spot.x > _AREA.right - 60 else "start"
            parts.append(
                text(
                    spot.x + (10 if side == "start" else -10),
                    spot.y - 8,
                    words,
                    text_anchor=side,
                    class_="strong halo",
                )
            )
        return parts

    def _describe(self, row: PlanRow) -> str:
        prediction = row.prediction
        return (
            f"{clip(row.name, 80)}\n{clip(route_text(row.candidate, self._report.graph), ROUTE_LENGTH)}\n"
            f"{in_ms(prediction.latency_ms)}, {in_bytes(prediction.device_edge_bytes)} device–edge"
        )


def _close(first: _Spot, second: _Spot) -> bool:
    return abs(first.x - second.x) < _NEAR and abs(first.y - second.y) < _NEAR
