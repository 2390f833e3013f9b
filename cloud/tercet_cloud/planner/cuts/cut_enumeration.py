"""All cuts of a network, where they are few enough to try: most networks are narrow, however long.

What a cut costs is a sum of what each of its links costs, so two passes over the single cuts price all pairs. That
takes limits, bottlenecks and exclusions as they come, in less time than a mixed-integer program needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tercet_cloud.planner.cuts.cut_graph import INPUT, Assignment, CutGraph, Mask
from tercet_cloud.planner.cuts.cut_problem import CutProblem
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost

# Their pairs fit into some tables of 8 MB.
MOST_CUTS = 1000
# Sums of the same costs in another order differ by this part.
_SAME_SUM = 1e-9


@dataclass(frozen=True)
class EveryCut:
    """All sets of operations that hold what their members depend on, one a row, smaller ones first.

    Attributes:
        beyond: (cuts, operations) bool: who is not in the set.
        crossing: (cuts, tensors) bool: what flows out of it, if anything is beyond.
        nested: (cuts, cuts) bool: whether the row's set is part of the column's.
    """

    beyond: Mask
    crossing: Mask
    nested: Mask

    def best(self, problem: CutProblem) -> Assignment | None:
        """The best pair of cuts, the first and smallest among equals; None if none is allowed."""
        total = self._pairs(problem.additive)
        if problem.stages:
            worst = self._pairs(problem.stages[0])
            for stage in problem.stages[1:]:
                np.maximum(worst, self._pairs(stage), out=worst)
            total += worst * problem.stage_weight
        total[~self._allowed(problem)] = np.inf
        # Among equals few links, then few tensors on them.
        simple = self.crossing.sum(axis=1) + 10.0 * self.beyond.any(axis=1)
        least = float(total.min())
        if not np.isfinite(least):
            return None
        near = np.argwhere(total <= least + _SAME_SUM * abs(least))
        device, until_cloud = near[np.argmin(simple[near].sum(axis=1))]
        return Assignment(self.beyond[device], self.beyond[until_cloud])

    def _pairs(self, cost: LinearCost) -> Float64Array:
        """(cuts, cuts): the cost of every pair, were it nested."""
        device, edge, cloud = cost.on_tier
        used = self.beyond.any(axis=1)
        columns = []
        for link, saved in enumerate((edge - device, cloud - edge)):
            column = self.beyond @ saved + self.crossing @ cost.over_link[link] + used * cost.link_used[link]
            columns.append(column)
        columns[0] += device.sum() + cost.device_used * ~self.beyond.all(axis=1)
        pairs: Float64Array = columns[0][:, None] + columns[1]
        return pairs

    def _allowed(self, problem: CutProblem) -> Mask:
        """(cuts, cuts)"""
        allowed = self.nested.copy()
        for limit in problem.limits:
            allowed &= self._pairs(limit.cost) <= limit.bound + _SAME_SUM * abs(limit.bound)
        for link in (0, 1):
            self._rows(allowed, link)[~self._is(problem.pinned[link])] = False
            if problem.barred is not None:
                self._rows(allowed, link)[self.crossing[:, problem.barred[link]].any(axis=1)] = False
        for before in problem.excluded:
            allowed[self._is(before[0])[:, None] & self._is(before[1])] = False
        for together in problem.not_together:
            first, second = (self._all_cross(link, together) for link in (0, 1))
            allowed[first[:, None] & second] = False
        return allowed

    def _rows(self, pairs: Mask, link: int) -> Mask:
        """Pairs by the cut at a link first."""
        return pairs if link == 0 else pairs.T

    def _all_cross(self, link: int, together: frozenset[tuple[int, int]]) -> Mask:
        """(cuts,) at which all of these tensors cross that are meant for this link."""
        tensors = [tensor for on, tensor in together if on == link]
        return np.asarray(self.crossing[:, tensors].all(axis=1))

    def _is(self, before: frozenset[int] | None) -> Mask:
        """(cuts,) which cut is the one after `before`; None: all."""
        if before is None:
            return np.ones(len(self.beyond), bool)
        beyond = np.ones(self.beyond.shape[1], bool)
        beyond[list(before)] = False
        found: Mask = (self.beyond == beyond).all(axis=1)
        return found


@lru_cache(maxsize=8)
def every_cut(graph: CutGraph, most: int = MOST_CUTS) -> EveryCut | None:
    """None if there are more than `most`. The last few graphs' are kept."""
    sets = _closed_sets(graph, most)
    if sets is None:
        return None
    count = len(graph.operations)
    data = b"".join(chosen.to_bytes(count // 8 + 1, "little") for chosen in sets)
    inside = np.unpackbits(
        np.frombuffer(data, np.uint8).reshape(len(sets), -1), axis=1, count=count, bitorder="little"
    )
    beyond = inside == 0
    used = beyond.any(axis=1)
    crossing = np.zeros((len(sets), len(graph.tensors)), bool)
    for index, tensor in enumerate(graph.tensors):
        needed = used if tensor.is_output else beyond[:, list(tensor.consumers)].any(axis=1)
        crossing[:, index] = needed if tensor.producer == INPUT else needed & ~beyond[:, tensor.producer]
    # Nothing of the row's set is beyond the column's.
    nested = inside.astype(np.float32) @ beyond.T.astype(np.float32) == 0
    return EveryCut(beyond, crossing, nested)


def _closed_sets(graph: CutGraph, most: int) -> list[int] | None:
    """Bit sets, smaller ones first; None if there are more than `most`."""
    count = len(graph.operations)
    needs, followers = [0] * count, [list[int]() for _ in range(count)]
    for earlier, later in graph.edges:
        needs[later] |= 1 << earlier
        followers[earlier].append(later)
    found: list[int] = []
    # Of each set those that could join it.
    sets = {0: [index for index in range(count) if not needs[index]]}
    while sets:
        found += sets
        larger: dict[int, list[int]] = {}
        for chosen, ready in sets.items():
            for index in ready:
                more = chosen | 1 << index
                if more not in larger:
                    freed = [follower for follower in followers[index] if not needs[follower] & ~more]
                    larger[more] = [other for other in ready if other != index] + freed
        if len(found) + len(larger) > most:
            return None
        sets = larger
    return found
