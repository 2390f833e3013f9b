"""Which plan is best at which speed and round trip of the device–edge link."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from string import ascii_uppercase

from tercet_cloud.drawing.markup import Markup, box, clip, element, line, picture, text, tooltip
from tercet_cloud.planner.report.chart_axes import Area, legend, plain
from tercet_cloud.planner.report.page_style import PLAN_COLOURS
from tercet_cloud.planner.report.plan_report import MapCell, PlanReport
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.report.wording import ROUTE_LENGTH, in_ms, three_digits

_WIDTH, _HEIGHT = 980.0, 440.0
_AREA = Area(64, 40, _WIDTH - 16, _HEIGHT - 48)
# A cell that has room for its latency beneath the letter.
_ROOMY = (46.0, 34.0)


# By column and row.
Cells = dict[tuple[int, int], MapCell]


def draw_map(report: PlanReport) -> Markup:
    """One SVG picture; speed to the right, round trip upwards, both by their logarithm."""
    speeds = sorted({cell.mbps for cell in report.map_cells})
    trips = sorted({cell.round_trip_ms for cell in report.map_cells})
    xs = _edges(speeds, _AREA.left, _AREA.right)
    ys = _edges(trips, _AREA.bottom, _AREA.top)
    cells = {(speeds.index(cell.mbps), trips.index(cell.round_trip_ms)): cell for cell in report.map_cells}
    return picture(
        _WIDTH,
        _HEIGHT,
        "The best plan by speed and round trip of the device–edge link",
        _AREA.y_axis(_labels(trips, ys, 24), "round trip, ms", grid=False),
        _AREA.x_axis(_labels(speeds, xs, 52), "speed of the device–edge link, Mbit/s"),
        *(_cell(report, cell, xs[column : column + 2], ys[row : row + 2]) for (column, row), cell in cells.items()),
        *_borders(cells, xs, ys),
        *_letters(cells, xs, ys),
        _here(report, speeds, trips, xs, ys),
        class_="chart",
    )


def map_legend(report: PlanReport) -> Markup:
    """The letters in words, most of the map first."""
    counts = [sum(cell.plan == number for cell in report.map_cells) for number in range(len(report.map_plans))]
    order = sorted(range(len(counts)), key=lambda number: -counts[number])
    total = max(len(report.map_cells), 1)

    def words(number: int) -> str:
        plan = report.map_plans[number]
        share = f"{counts[number] / total:.0%} of the map"
        return f"{clip(plan.name, 60)}: {clip(route_text(plan.candidate, report.graph), ROUTE_LENGTH)} ({share})"

    return legend((_swatch(number), words(number)) for number in order)


def plan_letter(number: int) -> str:
    """A … Z, then A1, B1, …"""
    turn, place = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(turn) if turn else "")


def _edges(values: Sequence[float], start: float, end: float) -> list[float]:
    """Pixel edges of cells of equal size: the grid is even by the logarithm."""
    size = (end - start) / max(len(values), 1)
    return [start + number * size for number in range(len(values) + 1)]


def _labels(values: Sequence[float], edges: Sequence[float], room: float) -> list[tuple[float, str]]:
    if not values:
        return []
    every = max(1, -(-int(room) // max(int(abs(edges[1] - edges[0])), 1)))
    return [
        ((edges[number] + edges[number + 1]) / 2, plain(float(f"{values[number]:.2g}")))
        for number in range(0, len(values), every)
    ]


def _fill(number: int) -> str:
    return PLAN_COLOURS[number % len(PLAN_COLOURS)]


def _swatch(number: int) -> Markup:
    shapes = [box(0.5, 0.5, 25, 17, rx=3, fill=_fill(number))]
    if number >= len(PLAN_COLOURS):
        shapes.append(box(0.5, 0.5, 25, 17, rx=3, class_="twice"))
    shapes.append(text(13, 14, plan_letter(number), text_anchor="middle", class_="letter"))
    return element("svg", *shapes, width=26, height=18)


def _cell(report: PlanReport, cell: MapCell, xs: Sequence[float], ys: Sequence[float]) -> Markup:
    width, height = xs[1] - xs[0], ys[0] - ys[1]
    x, y = (xs[0] + xs[1]) / 2, (ys[0] + ys[1]) / 2
    plan = report.map_plans[cell.plan]
    said = (
        f"{plain(float(f'{cell.mbps:.3g}'))} Mbit/s, {plain(float(f'{cell.round_trip_ms:.3g}'))} ms round trip\n"
        f"{plan_letter(cell.plan)}: {clip(plan.name, 60)}, {in_ms(cell.latency_ms)}"
    )
    parts = [tooltip(said), box(xs[0], ys[1], width, height, fill=_fill(cell.plan), class_="cell")]
    if cell.plan >= len(PLAN_COLOURS):
        parts.append(box(xs[0], ys[1], width, height, class_="twice"))
    if _is_roomy(width, height):
        parts.append(text(x, y - 1, plan_letter(cell.plan), text_anchor="middle", class_="letter"))
        parts.append(text(x, y + 13, three_digits(cell.latency_ms), text_anchor="middle", class_="on-plan"))
    return element("g", *parts)


def _is_roomy(width: float, height: float) -> bool:
    return width >= _ROOMY[0] and height >= _ROOMY[1]


def _letters(cells: Cells, xs: Sequence[float], ys: Sequence[float]) -> list[Markup]:
    """Where cells are too small for words, a letter in the middle of each stretch of one plan."""
    if not cells or _is_roomy(xs[1] - xs[0], ys[0] - ys[1]):
        return []
    letters: list[Markup] = []
    left = set(cells)
    while left:
        start = min(left)
        stretch, wanted = set[tuple[int, int]](), [start]
        while wanted:
            column, row = wanted.pop()
            if (column, row) in left and cells[column, row].plan == cells[start].plan:
                left.remove((column, row))
                stretch.add((column, row))
                wanted += [(column + 1, row), (column - 1, row), (column, row + 1), (column, row - 1)]
        column, row = _middle(stretch)
        x, y = (xs[column] + xs[column + 1]) / 2, (ys[row] + ys[row + 1]) / 2
        letters.append(text(x, y + 5, plan_letter(cells[start].plan), text_anchor="middle", class_="letter"))
    return letters


def _middle(places: set[tuple[int, int]]) -> tuple[int, int]:
    """The one nearest to the mean."""
    column, row = (sum(place[axis] for place in places) / len(places) for axis in (0, 1))
    return min(places, key=lambda place: ((place[0] - column) ** 2 + (place[1] - row) ** 2, place))


def _borders(cells: Cells, xs: Sequence[float], ys: Sequence[float]) -> list[Markup]:
    """Lines between cells of different plans."""
    lines = []
    for (column, row), cell in cells.items():
        right, above = cells.get((column + 1, row)), cells.get((column, row + 1))
        if right and right.plan != cell.plan:
            lines.append(line(xs[column + 1], ys[row], xs[column + 1], ys[row + 1], class_="border"))
        if above and above.plan != cell.plan:
            lines.append(line(xs[column], ys[row + 1], xs[column + 1], ys[row + 1], class_="border"))
    return lines


def _here(
    report: PlanReport, speeds: Sequence[float], trips: Sequence[float], xs: Sequence[float], ys: Sequence[float]
) -> Markup:
    """A ring about the cell of the topology's own link, if the map has it."""
    if report.stated_link is None:
        return Markup("")
    column, row = _nearest(speeds, report.stated_link[0]), _nearest(trips, report.stated_link[1])
    if column is None or row is None:
        return Markup("")
    width, height = xs[column + 1] - xs[column], ys[row] - ys[row + 1]
    return box(xs[column] + 2, ys[row + 1] + 2, width - 4, height - 4, class_="ring")


def _nearest(values: Sequence[float], wanted: float) -> int | None:
    """The cell a value falls into; None outside the map."""
    if len(values) < 2:
        return 0 if values else None
    step = sqrt(values[1] / values[0]) if values[0] > 0 else 1.0
    if not values[0] / step <= wanted <= values[-1] * step:
        return None
    middles = [sqrt(low * high) for low, high in pairwise(values)]
    return bisect_right(middles, wanted)
