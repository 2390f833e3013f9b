"""Where blocks and the data between them lie: rows from top to bottom, few crossings, straight lanes.

The layered layout of Sugiyama et al. 1981 (IEEE Trans. SMC 11(2)), in its simplest form: rows are given, blocks are
ordered by the mean place of their neighbours, and places are the weighted least squares that keep that order. Data
that many later blocks read travels in one lane with branches, as it crosses a link once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 12
_BLOCK_WEIGHT, _LANE_WEIGHT = 6.0, 1.0


@dataclass(frozen=True)
class Item:
    """A box to be placed: its row, and the items in earlier rows whose data it takes."""

    row: int
    width: float
    takes: tuple[int, ...]


@dataclass(frozen=True)
class Lane:
    """The data one item gives: its places by row, from the item's own to the last before its last reader."""

    source: int
    x_by_row: dict[int, float]
    readers: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """`x` is each item's centre; the leftmost edge lies at 0, the rightmost at `width`."""

    x: tuple[float, ...]
    lanes: tuple[Lane, ...]
    width: float


@dataclass
class _Spot:
    """An item, or a lane on its way past a row."""

    row: int
    width: float
    weight: float
    above: list[int]
    below: list[int]
    x: float = 0.0


def lay_out(items: Sequence[Item], *, gap: float, lane_width: float, lane_widths: Mapping[int, float]) -> Layout:
    """Places for `items`, of which each comes after all it takes from.

    Args:
        gap: pixels between neighbours.
        lane_width: what a lane takes where it passes a row; `lane_widths` has the rows where it is another.
    """
    spots = [_Spot(item.row, item.width, _BLOCK_WEIGHT, [], []) for item in items]
    readers: list[list[int]] = [[] for _ in items]
    for index, item in enumerate(items):
        for source in item.takes:
            readers[source].append(index)
    passing: list[dict[int, int]] = []
    for source, item in enumerate(items):
        way = {item.row: source}
        last = max((items[reader].row for reader in readers[source]), default=item.row)
        for row in range(item.row + 1, last):
            spots.append(_Spot(row, lane_widths.get(row, lane_width), _LANE_WEIGHT, [], []))
            way[row] = len(spots) - 1
            _connect(spots, way[row - 1], way[row])
        for reader in readers[source]:
            _connect(spots, way[items[reader].row - 1], reader)
        passing.append(way)
    rows: list[list[int]] = [[] for _ in range(max((spot.row for spot in spots), default=0) + 1)]
    for index, spot in enumerate(spots):
        rows[spot.row].append(index)
    rows = _order(spots, rows)
    _place(spots, rows, gap)
    left = min(spot.x - spot.width / 2 for spot in spots)
    right = max(spot.x + spot.width / 2 for spot in spots)
    lanes = tuple(
        Lane(source, {row: spots[spot].x - left for row, spot in passing[source].items()}, tuple(readers[source]))
        for source in range(len(items))
        if readers[source]
    )
    return Layout(tuple(spot.x - left for spot in spots[: len(items)]), lanes, right - left)


def _connect(spots: list[_Spot], upper: int, lower: int) -> None:
    spots[upper].below.append(lower)
    spots[lower].above.append(upper)


def _order(spots: list[_Spot], rows: list[list[int]]) -> list[list[int]]:
    """Each row by the mean place of its neighbours, down and up by turns; the order with the fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(spots, rows)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        place = {spot: number for row in rows for number, spot in enumerate(row)}

        def mean(spot: int, downwards: bool = downwards, place: dict[int, int] = place) -> float:
            near = spots[spot].above if downwards else spots[spot].below
            return sum(place[other] for other in near) / len(near) if near else place[spot]

        for row in rows if downwards else reversed(rows):
            row.sort(key=mean)
            place.update((spot, number) for number, spot in enumerate(row))
        if (found := _crossings(spots, rows)) < fewest:
            best, fewest = [list(row) for row in rows], found
    return best


def _crossings(spots: list[_Spot], rows: list[list[int]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {spot: number for number, spot in enumerate(lower)}
        ends = [place[end] for spot in upper for end in sorted(spots[spot].below, key=lambda end: place[end])]
        total += sum(first > second for number, first in enumerate(ends) for second in ends[number + 1 :])
    return total


def _place(spots: list[_Spot], rows: list[list[int]], gap: float) -> None:
    for row in rows:
        x = 0.0
        for spot in row:
            spots[spot].x = x + spots[spot].width / 2
            x += spots[spot].width + gap
        for spot in row:
            spots[spot].x -= (x - gap) / 2
    neighbours: tuple[Callable[[_Spot], list[int]], ...] = (lambda spot: spot.above, lambda spot: spot.below)
    for sweep in range(_SWEEPS):
        near = neighbours[sweep % 2]
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _place_row([spots[spot] for spot in row], spots, near, gap)


def _place_row(row: list[_Spot], spots: list[_Spot], near: Callable[[_Spot], list[int]], gap: float) -> None:
    """The places nearest to the neighbours' that keep the order and the gaps (isotonic regression).

    A box alone in its row wants the middle line, or long networks would drift sideways.
    """
    boxes = [spot for spot in row if spot.weight == _BLOCK_WEIGHT]
    alone = boxes[0] if len(boxes) == 1 else None
    offset, offsets, wishes = 0.0, [], []
    for number, spot in enumerate(row):
        if number:
            offset += (row[number - 1].width + spot.width) / 2 + gap
        offsets.append(offset)
        others = [spots[other] for other in near(spot)]
        weights = [other.weight for other in others]
        if spot is alone:
            wish = 0.0
        else:
            wish = sum(o.x * w for o, w in zip(others, weights, strict=True)) / sum(weights) if others else spot.x
        wishes.append(wish - offset)
    pools: list[tuple[float, float, int]] = []
    for spot, wish in zip(row, wishes, strict=True):
        pool = (wish, spot.weight, 1)
        while pools and pools[-1][0] > pool[0]:
            value, weight, count = pools.pop()
            mean = (value * weight + pool[0] * pool[1]) / (weight + pool[1])
            pool = (mean, weight + pool[1], count + pool[2])
        pools.append(pool)
    places = [value for value, _, count in pools for _ in range(count)]
    for spot, place, offset in zip(row, places, offsets, strict=True):
        spot.x = place + offset
