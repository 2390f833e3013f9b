"""The linear program of one graph: its variables and order constraints, built once; costs become coefficients.

Columns: "at edge or beyond" of every operation, then "in cloud" of every operation, then what the graph needs
besides. A tensor that crosses as far as one operation, its last reader, has that operation's variable; only
readers in parallel branches need one of their own. Links and the device are alike: a graph with one last operation
uses a link if and only if that operation is beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from tercet.errors import SpecError
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class CutProgram:
    """Every feasible 0/1 point is an assignment, with the helping columns at least what the assignment makes them.

    Attributes:
        columns: how many variables, all within 0…1.
        order: (rows, 2) pairs of columns, of which the first is at most the second.
        far: (2, tensors): the column that says whether a tensor is needed beyond a link; -1 if never.
        near: (2, tensors): the column that says whether it is made beyond; -1 for the model's inputs.
        link_used: columns by link.
        device_idle: the column that says that nothing runs on the device.
        before, after: operations from which one comes directly, and that come directly from it.
        follower: (operations,) the only operation after one; -1 where there are several or none.
        gives, wants: (operations, tensors): 1 for what an operation gives; 1 for what it reads that would not have
            to be where its follower is, were it not for this operation.
    """

    graph: CutGraph
    columns: int
    order: Indices
    far: Indices
    near: Indices
    link_used: tuple[int, int]
    device_idle: int
    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]
    follower: Indices
    gives: csr_array
    wants: csr_array

    @cached_property
    def order_rows(self) -> csr_array:
        """(rows, columns): `order` as rows that are at most 0."""
        return differences(self.order, self.columns)

    def coefficients(self, cost: LinearCost) -> tuple[Float64Array, float]:
        """(columns,) coefficients and the constant: cost.of(assignment) = coefficients · point + constant."""
        count = len(self.graph.operations)
        device, edge, cloud = cost.on_tier
        row = np.zeros(self.columns)
        row[:count] = edge - device
        row[count : 2 * count] = cloud - edge
        for link in (0, 1):
            far, near = self.far[link], self.near[link]
            needed = far >= 0
            made = needed & (near >= 0)
            row += np.bincount(far[needed], cost.over_link[link][needed], self.columns)
            row -= np.bincount(near[made], cost.over_link[link][made], self.columns)
            row[self.link_used[link]] += cost.link_used[link]
        row[self.device_idle] -= cost.device_used
        return row, float(device.sum()) + cost.device_used

    def bars(self, barred: npt.NDArray[np.bool_]) -> tuple[Indices, Indices]:
        """What keeps tensors from crossing: pairs like `order`'s, and columns that have to be 0.

        Args:
            barred: (2, tensors).
        """
        # Where both are one column nothing can cross anyway.
        chosen = barred & (self.far >= 0) & (self.far != self.near)
        far, near = self.far[chosen], self.near[chosen]
        made = near >= 0
        return np.stack([far[made], near[made]], axis=1), far[~made]

    def crosses(self, link: int, tensor: int) -> Float64Array:
        """(columns,) coefficients of what is 1 if a tensor crosses a link, else 0."""
        row = np.zeros(self.columns)
        far, near = self.far[link, tensor], self.near[link, tensor]
        if far >= 0:
            row[far] += 1
            if near >= 0:
                row[near] -= 1
        return row

    def apart(self, link: int, before: frozenset[int]) -> tuple[Float64Array, float]:
        """(columns,) coefficients and the constant of what is 0 for exactly the cut after `before`, else 1 or more.

        Only the last operations before the cut and the first after it count: the order takes the others along.
        """
        count = len(self.graph.operations)
        row = np.zeros(self.columns)
        last = [i for i in before if not any(j in before for j in self.after[i])]
        first = [i for i in range(count) if i not in before and all(j in before for j in self.before[i])]
        row[[link * count + i for i in last]] = 1
        row[[link * count + i for i in first]] = -1
        return row, float(len(first))


@lru_cache(maxsize=8)
def program_of(graph: CutGraph) -> CutProgram:
    """The program of a graph; the last few are kept. SpecError for a graph without operations."""
    count = len(graph.operations)
    if not count:
        raise SpecError("a graph without operations has nothing to cut")
    above = _ancestors(count, graph.edges)
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for earlier, later in graph.edges:
        before[later].append(earlier)
    for later, candidates in enumerate(before):
        before[later] = _last_of(candidates, above)
        for earlier in before[later]:
            after[earlier].append(later)

    columns = 2 * count
    order = [(link * count + i, link * count + j) for link in (0, 1) for j in range(count) for i in before[j]]
    order += [(count + i, i) for i in range(count)]

    def column_above(operations: Sequence[int], link: int) -> int:
        """A column that is 1 if one of the operations is beyond the link."""
        nonlocal columns
        if len(operations) == 1:
            return link * count + operations[0]
        order.extend((link * count + i, columns) for i in operations)
        columns += 1
        return columns - 1

    ends = [i for i in range(count) if not after[i]]
    link_used = (column_above(ends, 0), column_above(ends, 1))
    starts = [i for i in range(count) if not before[i]]
    device_idle = starts[0]
    if len(starts) > 1:
        device_idle, columns = columns, columns + 1
        order.extend((device_idle, i) for i in starts)
    far = np.full((2, len(graph.tensors)), -1, np.intp)
    near = np.full((2, len(graph.tensors)), -1, np.intp)
    for index, tensor in enumerate(graph.tensors):
        readers = _last_of(tensor.consumers, above)
        for link in (0, 1):
            if tensor.producer != INPUT:
                near[link, index] = link * count + tensor.producer
            if tensor.is_output:
                far[link, index] = link_used[link]
            elif readers:
                far[link, index] = column_above(readers, link)
    follower = np.array([later[0] if len(later) == 1 else -1 for later in after], np.intp)
    return CutProgram(
        graph=graph,
        columns=columns,
        order=np.array(order, np.intp).reshape(-1, 2),
        far=far,
        near=near,
        link_used=link_used,
        device_idle=device_idle,
        before=tuple(map(tuple, before)),
        after=tuple(map(tuple, after)),
        follower=follower,
        gives=_incidence(
            [(t.producer, index) for index, t in enumerate(graph.tensors) if t.producer != INPUT], graph
        ),
        wants=_incidence(_wants(graph, follower, above), graph),
    )


def differences(pairs: Indices, columns: int) -> csr_array:
    """(pairs, columns): one row a pair, its first column less its second."""
    values = np.tile([1.0, -1.0], len(pairs))
    return csr_array((values, pairs.ravel(), np.arange(0, 2 * len(pairs) + 1, 2)), shape=(len(pairs), columns))


def _wants(graph: CutGraph, follower: Indices, above: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(operation, tensor) pairs; an output is where the last operation is, as far as any link is used."""
    for index, tensor in enumerate(graph.tensors):
        for reader in () if tensor.is_output else tensor.consumers:
            then = int(follower[reader])
            others = (other for other in tensor.consumers if other != reader)
            if then >= 0 and not any(other == then or above[other] >> then & 1 for other in others):
                yield reader, index


def _incidence(pairs: Iterable[tuple[int, int]], graph: CutGraph) -> csr_array:
    places = np.array(list(pairs), np.intp).reshape(-1, 2).T
    shape = (len(graph.operations), len(graph.tensors))
    return csr_array((np.ones(places.shape[1]), (places[0], places[1])), shape=shape)


def _ancestors(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """For each operation a bit set of all that come before it."""
    above = [0] * count
    for earlier, later in sorted(edges, key=lambda edge: edge[1]):
        above[later] |= above[earlier] | 1 << earlier
    return above


def _last_of(operations: Sequence[int], above: Sequence[int]) -> list[int]:
    """Those that do not come before another of them."""
    earlier = 0
    for index in operations:
        earlier |= above[index]
    return [index for index in operations if not earlier >> index & 1]
