"""What the charts of a report share: a plotting area with axes, and legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tercet_cloud.drawing.markup import Markup, box, element, join, line, short, text
from tercet_cloud.planner.report.wording import LATENCY_PARTS

# The style sheet's classes of LATENCY_PARTS.
PART_CLASSES = ("tier device", "link-0", "tier edge", "link-1", "tier cloud")


@dataclass(frozen=True)
class Area:
    """Where the marks of a chart lie, in pixels; axes and their words are outside."""

    left: float
    top: float
    right: float
    bottom: float

    def x_axis(self, ticks: Iterable[tuple[float, str]], words: str) -> Markup:
        """Ticks are (pixel, label)."""
        parts = [line(self.left, self.bottom, self.right, self.bottom, class_="axis")]
        for x, label in ticks:
            parts.append(line(x, self.bottom, x, self.bottom + 5, class_="axis"))
            parts.append(text(x, self.bottom + 19, label, text_anchor="middle"))
        middle = (self.left + self.right) / 2
        parts.append(text(middle, self.bottom + 38, words, text_anchor="middle", class_="soft"))
        return join(parts)

    def y_axis(self, ticks: Iterable[tuple[float, str]], words: str, *, grid: bool = True) -> Markup:
        parts = [text(self.left - 40, self.top - 12, words, class_="soft")]
        for y, label in ticks:
            if grid:
                parts.append(line(self.left, y, self.right, y, class_="grid"))
            parts.append(text(self.left - 8, y + 4, label, text_anchor="end"))
        return join(parts)


def plain(value: float) -> str:
    """A tick's value, which is round."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def legend(entries: Iterable[tuple[Markup, str]]) -> Markup:
    """A list of marks with their words."""
    return element("ul", *(element("li", mark, words) for mark, words in entries), class_="legend")


def swatch(class_: str, *, fill: str | None = None) -> Markup:
    return element(
        "svg",
        box(0.5, 0.5, 15, 11, rx=2, class_=class_ or None, fill=fill),
        width=16,
        height=12,
        aria_hidden="true",
    )


def mark_swatch(*shapes: str) -> Markup:
    """Shapes drawn about (8, 8) as a legend's mark."""
    return element("svg", *shapes, width=16, height=16, aria_hidden="true")


def latency_legend() -> Markup:
    return legend((swatch(kind), name) for kind, name in zip(PART_CLASSES, LATENCY_PARTS, strict=True))


def star(x: float, y: float, radius: float = 9.0) -> Markup:
    """The chosen plan's mark."""
    spikes = ((0, -1), (0.24, -0.33), (0.95, -0.31), (0.38, 0.12), (0.59, 0.81), (0, 0.4))
    outline = [*spikes, *((-dx, dy) for dx, dy in spikes[-2:0:-1])]
    points = " ".join(f"{short(x + dx * radius)},{short(y + dy * radius)}" for dx, dy in outline)
    return element("polygon", points=points, class_="star")


def stacked_parts(values: Sequence[float]) -> list[tuple[int, float, float]]:
    """(part, from, to) of what is not zero."""
    found, total = [], 0.0
    for part, value in enumerate(values):
        if value > 0:
            found.append((part, total, total + value))
        total += value
    return found
