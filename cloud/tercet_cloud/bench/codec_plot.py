"""Bytes against agreement as an SVG picture: log x, image baselines as open squares."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from math import ceil, floor, log10

from tercet_cloud.bench.codec_rate import RateReport, RateRow

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
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 26, f"{report.model}: {report.metric}", size=15),
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
        parts.append(_text(_WIDTH - _RIGHT + 38, y + 4, label))
    if hidden := len(report.rows) - len(shown):
        parts.append(_text(_LEFT, _HEIGHT - 8, f"{hidden} points with agreement below 0.5 not shown"))
    return "\n".join([*parts, "</svg>", ""])


class _Frame:
    """Where bytes and agreements lie in the picture."""

    def __init__(self, rows: Iterable[RateRow]) -> None:
        rows = list(rows)
        sizes = [max(row.bytes_per_frame, 1.0) for row in rows] or [1.0, 10.0]
        self._first, self._last = floor(log10(min(sizes))), max(ceil(log10(max(sizes))), 1)
        self._last = max(self._last, self._first + 1)
        lowest = min((row.agreement for row in rows), default=0.9)
        self._low = min(floor(lowest * 20) / 20, 0.9)

    def x(self, size_bytes: float) -> float:
        share = (log10(max(size_bytes, 1.0)) - self._first) / (self._last - self._first)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, agreement: float) -> float:
        return _HEIGHT - _BOTTOM - (agreement - self._low) / (1 - self._low) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> list[str]:
        parts = []
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for power in range(self._first, self._last + 1):
            x = self.x(10.0**power)
            parts.append(_line(x, _TOP, x, bottom))
            parts.append(_text(x, bottom + 18, f"{10**power:,}" if power >= 0 else f"{10.0**power:g}", "middle"))
        for step in range(round(self._low * 20), 21):
            y = self.y(step / 20)
            parts.append(_line(_LEFT, y, right, y))
            parts.append(_text(_LEFT - 8, y + 4, f"{step / 20:.2f}", "end"))
        parts.append(_text((_LEFT + right) / 2, bottom + 38, "bytes per frame (payloads and parameters)", "middle"))
        parts.append(_text(16, _TOP - 10, "agreement with the uncut model"))
        return parts

    def mark(self, row: RateRow, colour: str, number: int) -> str:
        title = (
            f"<title>{escape(row.boundary)} {escape(row.title)}: {row.bytes_per_frame:,.0f} bytes, "
            f"{row.agreement:.3f}</title>"
        )
        x, y = self.x(row.bytes_per_frame), self.y(row.agreement)
        return f"<g>{title}{_shape(x, y, colour, number, image=row.image)}</g>"


def _shape(x: float, y: float, colour: str, number: int, *, image: bool) -> str:
    if image:
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="none" stroke="black"/>'
    if number // len(_COLOURS) % 2:
        points = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y + 4:.1f} {x - 5:.1f},{y + 4:.1f}"
        return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.8"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" fill-opacity="0.8"/>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
