"""What the picture of a network shows and where: blocks in their tiers' bands, cuts between them, lanes of data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph
from tercet_cloud.planner.report.network_blocks import Block, gather_blocks
from tercet_cloud.planner.report.network_layout import Item, Lane, lay_out
from tercet_cloud.planner.report.plan_report import PlanReport

# Types that begin a block where there is room: what the layers of a network are named after.
_LAYERS = frozenset(
    {
        *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv"),
        *("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "Einsum", "Attention", "MultiHeadAttention"),
        *("LSTM", "GRU", "RNN"),
    }
)
BOX_HEIGHT = 24.0
_PITCH, _HEAD, _PADDING, _CUT, _IDLE = 40.0, 44.0, 8.0, 76.0, 44.0
_ROW_WIDTH, _WIDEST_BOX, _GAP = 500.0, 168.0, 14.0
_PILL, _THIN_LANE = 66.0, 4.0


@dataclass(frozen=True)
class Placed:
    """A box: the input, a block or the answer. `block` is None for the input and the answer."""

    x: float
    y: float
    width: float
    tier: int
    block: Block | None
    gives: tuple[int, ...]


@dataclass(frozen=True)
class Band:
    """A tier's share of the picture; `idle` for an edge that computes nothing."""

    tier: int
    top: float
    bottom: float
    idle: bool


@dataclass(frozen=True)
class Crossing:
    """Tensors of one box that cross a link, at one place of the cut."""

    x: float
    tensors: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """Where a used link lies; `room` is the width that each crossing's label has."""

    link: int
    top: float
    bottom: float
    crossings: tuple[Crossing, ...]
    room: float


@dataclass(frozen=True)
class RowFacts:
    """Beside a row: ms of its blocks on their own tier, and raw bytes alive below it."""

    y: float
    tier: int
    compute_ms: float
    alive_y: float
    alive_bytes: float
    is_cut: bool


@dataclass(frozen=True)
class Way:
    """A curve's points from a box to a reader, (x, y) pairs that alternate between leaving and arriving."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Scene:
    """`boxes` begin with the input and end with the answer; `ways` are by box."""

    boxes: tuple[Placed, ...]
    bands: tuple[Band, ...]
    cuts: tuple[Cut, ...]
    ways: tuple[tuple[int, tuple[Way, ...]], ...]
    rows: tuple[RowFacts, ...]
    width: float
    height: float


@dataclass(frozen=True)
class _Row:
    """A row of the layout: of blocks (`link` is None), or a cut."""

    tier: int
    link: int | None
    y: float
    half: float


def arrange(report: PlanReport) -> Scene:
    """The scene of the chosen plan; x begins at 0, y leaves room for headings."""
    graph = report.graph
    assignment = report.chosen.candidate.assignment(graph)
    tiers: list[int] = (assignment.at_edge_or_beyond.astype(int) + assignment.in_cloud).tolist()
    starts = {index for index, item in enumerate(report.operations) if item.op_type in _LAYERS}
    blocks = gather_blocks(graph, tiers, starts)
    used = (assignment.uses(0), assignment.uses(1))
    answer_tier = sum(used)
    block_rows = {block.row: block.tier for block in blocks}
    rows, bands, place = _rows({0: 0, **block_rows, max(block_rows) + 1: answer_tier})

    box_of = {index: 1 + number for number, block in enumerate(blocks) for index in block.operations}
    takes, gives = _flows(graph, box_of, len(blocks) + 2)
    at = [place[0], *(place[block.row] for block in blocks), len(rows) - 1]
    crowd = Counter(at)
    widths = [min(_WIDEST_BOX, _ROW_WIDTH / crowd[row] - _GAP) for row in at]
    crossing = [set(assignment.crossing(graph, link)) for link in (0, 1)]
    rooms = {number: _room(gives, crossing[row.link]) for number, row in enumerate(rows) if row.link is not None}
    layout = lay_out(
        [Item(row, width, tuple(sorted(taken))) for row, width, taken in zip(at, widths, takes, strict=True)],
        gap=_GAP,
        lane_widths=rooms,
        lane_width=_THIN_LANE,
    )
    boxes = tuple(
        Placed(x, rows[row].y, width, rows[row].tier, block, tuple(given))
        for x, row, width, block, given in zip(layout.x, at, widths, [None, *blocks, None], gives, strict=True)
    )
    cuts = tuple(
        Cut(
            row.link,
            row.y - row.half,
            row.y + row.half,
            tuple(
                Crossing(lane.x_by_row[number], crossed)
                for lane in layout.lanes
                if (crossed := tuple(t for t in gives[lane.source] if t in crossing[row.link]))
            ),
            rooms[number],
        )
        for number, row in enumerate(rows)
        if row.link is not None
    )
    ways = tuple((lane.source, _ways(lane, layout.x, at, rows)) for lane in layout.lanes)
    return Scene(
        boxes, bands, cuts, ways, _row_facts(report, rows, at, blocks, box_of), layout.width, bands[-1].bottom
    )


def _rows(tier_by_row: dict[int, int]) -> tuple[list[_Row], tuple[Band, ...], dict[int, int]]:
    """Layout rows from the blocks' rows, with cuts between tiers; and where each block row went."""
    rows: list[_Row] = []
    bands: list[Band] = []
    place: dict[int, int] = {}
    tier, y = 0, _HEAD
    top = y
    for row, of_tier in sorted(tier_by_row.items()):
        while tier < of_tier:
            idle = not any(item.tier == tier and item.link is None for item in rows)
            y += _IDLE if idle else _PADDING
            bands.append(Band(tier, top, y, idle))
            rows.append(_Row(tier, tier, y + _CUT / 2, _CUT / 2))
            y += _CUT
            tier, top = tier + 1, y
        if y == top:
            y += _PADDING
        rows.append(_Row(tier, None, y + _PITCH / 2, BOX_HEIGHT / 2))
        place[row] = len(rows) - 1
        y += _PITCH
    bands.append(Band(tier, top, y + _PADDING, idle=False))
    return rows, tuple(bands), place


def _flows(graph: CutGraph, box_of: dict[int, int], count: int) -> tuple[list[set[int]], list[list[int]]]:
    """By box: the boxes it takes from, and the tensors it gives to others."""
    takes: list[set[int]] = [set() for _ in range(count)]
    gives: list[list[int]] = [[] for _ in range(count)]
    for index, tensor in enumerate(graph.tensors):
        source = 0 if tensor.producer == INPUT else box_of[tensor.producer]
        readers = {box_of[consumer] for consumer in tensor.consumers} | ({count - 1} if tensor.is_output else set())
        for reader in readers - {source}:
            takes[reader].add(source)
        if readers - {source}:
            gives[source].append(index)
    return takes, gives


def _room(gives: Sequence[Sequence[int]], crossing: set[int]) -> float:
    crossings = sum(any(tensor in crossing for tensor in given) for given in gives)
    return max(_THIN_LANE, min(_PILL, _ROW_WIDTH / max(crossings, 1) - _GAP))


def _ways(lane: Lane, x: Sequence[float], at: Sequence[int], rows: Sequence[_Row]) -> tuple[Way, ...]:
    """The lane to its end, and from it to every reader."""
    ways = []
    passed = sorted(lane.x_by_row)
    trunk = [(lane.x_by_row[passed[0]], rows[passed[0]].y + rows[passed[0]].half)]
    for row in passed[1:]:
        trunk += [
            (lane.x_by_row[row], rows[row].y - rows[row].half),
            (lane.x_by_row[row], rows[row].y + rows[row].half),
        ]
    if len(trunk) > 1:
        ways.append(Way(tuple(trunk)))
    for reader in lane.readers:
        above = at[reader] - 1
        start = (lane.x_by_row[above], rows[above].y + rows[above].half)
        ways.append(Way((start, (x[reader], rows[at[reader]].y - rows[at[reader]].half))))
    return tuple(ways)


def _row_facts(
    report: PlanReport,
    rows: Sequence[_Row],
    at: Sequence[int],
    blocks: Sequence[Block],
    box_of: dict[int, int],
) -> tuple[RowFacts, ...]:
    spent = [0.0] * len(rows)
    for number, block in enumerate(blocks):
        spent[at[number + 1]] += sum(report.operations[index].tier_ms[block.tier] for index in block.operations)
    alive = [0.0] * len(rows)
    for tensor in report.graph.tensors:
        first = at[0 if tensor.producer == INPUT else box_of[tensor.producer]]
        ends = [at[box_of[consumer]] for consumer in tensor.consumers] + (
            [len(rows) - 1] if tensor.is_output else []
        )
        for row in range(first, max(ends, default=first)):
            alive[row] += report.tensor_bytes.get(tensor.name, 0)
    return tuple(
        RowFacts(
            row.y,
            row.tier,
            spent[number],
            row.y + _PITCH / 2,
            alive[number],
            number + 1 < len(rows) and rows[number + 1].link is not None,
        )
        for number, row in enumerate(rows)
        if row.link is None
    )
