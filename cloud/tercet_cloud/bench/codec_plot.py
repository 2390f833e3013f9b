"""Bytes against agreement as an SVG picture: log x, image baselines as open squares."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, log10

from tercet_cloud.bench.codec_rate import RateReport, RateRow
from tercet_cloud.drawing.markup import Markup, box, element, line, text, tooltip
from tercet_cloud.drawing.scales import LinearScale, LogScale

_WIDTH, _HEIGHT = 960, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 240, 50, 60
# Colours that the colour-blind can tell apart; they repeat after eight boundaries, with other marks.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f4f24", "#444444")
_LOWEST_AGREEMENT = 0.5


def render_plot(report: RateReport) -> str:
    """The picture as SVG text. Points whose agreement is below one half are left out, and counted in a note."""
    shown = [row for row in report.rows if row.agreement >= _LOWEST_AGREEMENT]
    frame = _Frame(shown)
    parts = [
        box(0, 0, _WIDTH, _HEIGHT, fill="white"),
        text(_LEFT, 26, f"{report.model}: {report.metric}", font_size=15),
        *frame.axes(),
    ]
    boundaries = list(dict.fromkeys(row.boundary for row in shown))
    for number, boundary in enumerate(boundaries):
        rows = [row for row in shown if row.boundary == boundary]
        colour = _COLOURS[number % len(_COLOURS)]
        parts += [frame.mark(row, colour, number) for row in rows]
        y = _TOP + 10 + 18 * number
        parts.append(_shape(_WIDTH - _RIGHT + 24, y, colour, number, image=rows[0].image))
        label = f"{'image: ' if rows[0].image else ''}{boundary}, {rows[0].share_before:.0%} of compute"
        parts.append(text(_WIDTH - _RIGHT + 38, y + 4, label))
    if hidden := len(report.rows) - len(shown):
        parts.append(text(_LEFT, _HEIGHT - 8, f"{hidden} points with agreement below 0.5 not shown"))
    drawn = element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        font_family="sans-serif",
        font_size=12,
    )
    return f"{drawn}\n"


class _Frame:
    """Where bytes and agreements lie in the picture."""

    def __init__(self, rows: Iterable[RateRow]) -> None:
        rows = list(rows)
        sizes = [max(row.bytes_per_frame, 1.0) for row in rows] or [1.0, 10.0]
        self._first, last = floor(log10(min(sizes))), max(ceil(log10(max(sizes))), 1)
        self._last = max(last, self._first + 1)
        self._x = LogScale(10.0**self._first, 10.0**self._last, _LEFT, _WIDTH - _RIGHT)
        lowest = min((row.agreement for row in rows), default=0.9)
        self._low = min(floor(lowest * 20) / 20, 0.9)
        self._y = LinearScale(self._low, 1, _HEIGHT - _BOTTOM, _TOP)

    def axes(self) -> list[Markup]:
        parts = []
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for power in range(self._first, self._last + 1):
            x = self._x(10.0**power)
            parts.append(line(x, _TOP, x, bottom, stroke="#ddd"))
            parts.append(text(x, bottom + 18, f"{10**power:,}", text_anchor="middle"))
        for step in range(round(self._low * 20), 21):
            y = self._y(step / 20)
            parts.append(line(_LEFT, y, right, y, stroke="#ddd"))
            parts.append(text(_LEFT - 8, y + 4, f"{step / 20:.2f}", text_anchor="end"))
        words = "bytes per frame (payloads and parameters)"
        parts.append(text((_LEFT + right) / 2, bottom + 38, words, text_anchor="middle"))
        parts.append(text(16, _TOP - 10, "agreement with the uncut model"))
        return parts

    def mark(self, row: RateRow, colour: str, number: int) -> Markup:
        words = f"{row.boundary} {row.title}: {row.bytes_per_frame:,.0f} bytes, {row.agreement:.3f}"
        x, y = self._x(max(row.bytes_per_frame, 1.0)), self._y(row.agreement)
        return element("g", tooltip(words), _shape(x, y, colour, number, image=row.image))


def _shape(x: float, y: float, colour: str, number: int, *, image: bool) -> Markup:
    if image:
        return box(x - 5, y - 5, 10, 10, fill="none", stroke="black")
    if number // len(_COLOURS) % 2:
        points = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y + 4:.1f} {x - 5:.1f},{y + 4:.1f}"
        return element("polygon", points=points, fill=colour, fill_opacity=0.8)
    return element("circle", cx=x, cy=y, r=4.5, fill=colour, fill_opacity=0.8)
