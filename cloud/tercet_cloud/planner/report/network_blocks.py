"""Operations gathered into blocks, so that a network of any size makes a picture that can be read.

A block lies on one tier and is convex: data that leaves it never comes back, so the blocks form a graph without
cycles. Gathered are operations that follow one another without a branch, as long as none of them starts a block of
its own; then, as far as the page needs it, neighbours in a chain, smallest first; everything between a branch and
where it joins again; at last whole stretches of the order.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph

# Rows that fit a page, and blocks that fit a row.
MOST_ROWS = 34
WIDEST_ROW = 8
# Beyond these, order is given up for size.
_HARD_ROWS = 40
_HARD_WIDTH = 14


@dataclass(frozen=True)
class Block:
    """`operations` are ascending indices; `tier` is 0 device, 1 edge, 2 cloud; `row` is where it is drawn.

    Row 0 is the input's. A block's row is below those of all that feed it, and of all earlier tiers.
    """

    operations: tuple[int, ...]
    tier: int
    row: int


@dataclass(frozen=True)
class _Quotient:
    """Blocks in an order in which data flows, their neighbours by position in it, and their rows."""

    members: list[list[int]]
    tiers: list[int]
    before: list[set[int]]
    after: list[set[int]]
    gives_output: list[bool]
    rows: list[int]

    @property
    def too_large(self) -> bool:
        return max(self.rows) > MOST_ROWS or self.width > WIDEST_ROW

    @property
    def width(self) -> int:
        return max(self.rows.count(row) for row in set(self.rows))


def gather_blocks(graph: CutGraph, tiers: Sequence[int], starts: Container[int] = ()) -> tuple[Block, ...]:
    """Blocks in an order in which data flows.

    Args:
        tiers: one an operation, never smaller than that of an operation it reads from.
        starts: operations that begin a block of their own as long as there is room.
    """
    owner = _runs(graph, tiers, starts)
    quotient = _quotient(graph, tiers, owner)
    while quotient.too_large:
        merged = _smallest_pairs(quotient, max(quotient.rows) - MOST_ROWS) or _branch_regions(quotient)
        if not merged:
            break
        quotient = _quotient(graph, tiers, _merge(owner, quotient, merged))
    if max(quotient.rows) > _HARD_ROWS or quotient.width > _HARD_WIDTH:
        quotient = _quotient(graph, tiers, _stretches(tiers))
    return tuple(
        Block(tuple(sorted(operations)), tier, row)
        for operations, tier, row in zip(quotient.members, quotient.tiers, quotient.rows, strict=True)
    )


def _runs(graph: CutGraph, tiers: Sequence[int], starts: Container[int]) -> list[int]:
    """For each operation the first of its run: each reads only from the one before, which only it reads."""
    count = len(graph.operations)
    before: list[set[int]] = [set() for _ in range(count)]
    after: list[set[int]] = [set() for _ in range(count)]
    gives_output = [False] * count
    for tensor in graph.tensors:
        if tensor.producer != INPUT:
            after[tensor.producer].update(tensor.consumers)
            gives_output[tensor.producer] |= tensor.is_output
        for consumer in tensor.consumers:
            before[consumer].add(tensor.producer)
    owner = list(range(count))
    for index in range(count):
        if len(before[index]) == 1 and index not in starts:
            (only,) = before[index]
            if only != INPUT and after[only] == {index} and not gives_output[only] and tiers[only] == tiers[index]:
                owner[index] = owner[only]
    return owner


def _quotient(graph: CutGraph, tiers: Sequence[int], owner: Sequence[int]) -> _Quotient:
    names = sorted(set(owner))
    edges = {(owner[first], owner[second]) for first, second in graph.edges if owner[first] != owner[second]}
    waits = dict.fromkeys(names, 0)
    followers: dict[int, list[int]] = {name: [] for name in names}
    for first, second in edges:
        waits[second] += 1
        followers[first].append(second)
    ready = [(tiers[name], name) for name in names if not waits[name]]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, name = heapq.heappop(ready)
        order.append(name)
        for follower in followers[name]:
            waits[follower] -= 1
            if not waits[follower]:
                heapq.heappush(ready, (tiers[follower], follower))
    place = {name: number for number, name in enumerate(order)}
    members: list[list[int]] = [[] for _ in order]
    for index, name in enumerate(owner):
        members[place[name]].append(index)
    before: list[set[int]] = [set() for _ in order]
    after: list[set[int]] = [set() for _ in order]
    for first, second in edges:
        before[place[second]].add(place[first])
        after[place[first]].add(place[second])
    outputs = [False] * len(order)
    for tensor in graph.tensors:
        if tensor.is_output and tensor.producer != INPUT:
            outputs[place[owner[tensor.producer]]] = True
    of_tier = [tiers[name] for name in order]
    return _Quotient(members, of_tier, before, after, outputs, _rows(of_tier, before))


def _rows(tiers: list[int], before: list[set[int]]) -> list[int]:
    """The longest way from the input; a tier begins below the last row of the one before."""
    rows: list[int] = []
    start, last = 1, 0
    for number, tier in enumerate(tiers):
        if number and tier != tiers[number - 1]:
            start = last + 1
        rows.append(max([start, *(rows[other] + 1 for other in before[number])]))
        last = max(last, rows[-1])
    return rows


def _branch_regions(quotient: _Quotient) -> list[list[int]]:
    """Disjoint regions, innermost first: what lies between a block that branches and the one where all joins.

    Whatever leaves such a region leaves by the join, so nothing comes back; other data may come in from above.
    """
    joins = _joins(quotient)
    taken: set[int] = set()
    regions: list[list[int]] = []
    for branch in range(len(quotient.members) - 1, -1, -1):
        join = joins[branch]
        if len(quotient.after[branch]) < 2 or join is None:
            continue
        inside, wanted = set[int](), list(quotient.after[branch])
        while wanted:
            block = wanted.pop()
            if block != join and block not in inside:
                inside.add(block)
                wanted.extend(quotient.after[block])
        region = {*inside, join}
        if len({quotient.tiers[block] for block in region}) == 1 and not region & taken:
            taken |= region
            regions.append(sorted(region))
    return regions


def _joins(quotient: _Quotient) -> list[int | None]:
    """For each block the first that every way from it to an output comes through; None if there is none."""
    count = len(quotient.members)
    end = count
    joins = [end] * (count + 1)

    def meet(first: int, second: int) -> int:
        while first != second:
            if first < second:
                first = joins[first]
            else:
                second = joins[second]
        return first

    for block in range(count - 1, -1, -1):
        ways = [*quotient.after[block], *([end] if quotient.gives_output[block] else [])] or [end]
        join = ways[0]
        for way in ways[1:]:
            join = meet(join, way)
        joins[block] = join
    return [None if join == end else join for join in joins[:count]]


def _smallest_pairs(quotient: _Quotient, most: int) -> list[list[int]]:
    """Up to `most` disjoint pairs of blocks that are neighbours in a chain on one tier; fewest operations first."""
    pairs = sorted(
        (len(quotient.members[first]) + len(quotient.members[second]), first, second)
        for first, after in enumerate(quotient.after)
        if len(after) == 1 and not quotient.gives_output[first]
        for second in after
        if len(quotient.before[second]) == 1 and quotient.tiers[first] == quotient.tiers[second]
    )
    taken: set[int] = set()
    found: list[list[int]] = []
    for _, first, second in pairs:
        if len(found) < most and not {first, second} & taken:
            taken |= {first, second}
            found.append([first, second])
    return found


def _merge(owner: list[int], quotient: _Quotient, groups: Iterable[Sequence[int]]) -> list[int]:
    """`owner`, changed so that each group of blocks is one."""
    for group in groups:
        operations = [operation for block in group for operation in quotient.members[block]]
        name = min(operations)
        for operation in operations:
            owner[operation] = name
    return owner


def _stretches(tiers: Sequence[int]) -> list[int]:
    """The order cut into pieces of equal length, each on one tier."""
    owner = [0] * len(tiers)
    length = -(-len(tiers) // (MOST_ROWS - 2))
    for tier in range(3):
        operations = [index for index, of in enumerate(tiers) if of == tier]
        for number, operation in enumerate(operations):
            owner[operation] = operations[number - number % length]
    return owner
