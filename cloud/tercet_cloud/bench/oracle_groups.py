"""Plans sorted into deployments: a chain of segments has only cuts of which each contains the one before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tercet_cloud.planner.costs.candidate import Candidate

# Every further cut costs the other plans of a deployment a session more.
MOST_CUTS = 3


@dataclass
class PlanGroup:
    """Candidates that one chain of segments can run; `cuts` are their inner cuts."""

    cuts: set[frozenset[int]] = field(default_factory=set)
    candidates: list[Candidate] = field(default_factory=list)

    def takes(self, cuts: frozenset[frozenset[int]], most_cuts: int) -> bool:
        together = sorted(self.cuts | cuts, key=len)
        nested = all(smaller < larger for smaller, larger in pairwise(together))
        return nested and len(together) <= most_cuts


def group_plans(
    pools: Iterable[Sequence[Candidate]], operations: int, most_cuts: int = MOST_CUTS
) -> list[PlanGroup]:
    """All candidates, each once; those of one pool in as few groups as a greedy choice finds.

    Args:
        operations: of the whole network.
    """
    groups: list[PlanGroup] = []
    placed: dict[Candidate, PlanGroup] = {}
    for pool in pools:
        used = [group for candidate in pool if (group := placed.get(candidate)) is not None]
        # The chosen plan is first in its pool; those with cuts that it has come next.
        for candidate in pool:
            if candidate in placed:
                continue
            cuts = inner_cuts(candidate, operations)
            ready = [group for group in (*used, *groups) if cuts <= group.cuts]
            fitting = ready or [group for group in (*used, *groups) if group.takes(cuts, most_cuts)]
            group = fitting[0] if fitting else PlanGroup()
            if not fitting:
                groups.append(group)
            group.cuts |= cuts
            group.candidates.append(candidate)
            placed[candidate] = group
            used.append(group)
    return groups


def inner_cuts(candidate: Candidate, operations: int) -> frozenset[frozenset[int]]:
    """The cuts at which a model has to be sliced for a candidate."""
    return frozenset(before for before in (candidate.device, candidate.until_cloud) if 0 < len(before) < operations)
