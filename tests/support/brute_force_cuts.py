"""Three-tier cuts by trying all: frames are followed operation by operation, no linear cost is trusted.

Written apart from the planner on purpose: it has its own notion of what flows where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph
from tercet_cloud.planner.cuts.exact import CutProblem
from tercet_cloud.planner.cuts.linear_cost import LinearCost

# 0 device, 1 edge, 2 cloud, by operation.
Places = tuple[int, ...]


@dataclass
class Journey:
    """What happens to one frame: who computes what, and which tensors are sent over which link."""

    computed: list[tuple[int, int]] = field(default_factory=list)
    sent: set[tuple[int, int]] = field(default_factory=set)
    links: set[int] = field(default_factory=set)

    def cost(self, cost: LinearCost) -> float:
        total = sum(float(cost.on_tier[place, operation]) for operation, place in self.computed)
        total += sum(float(cost.over_link[link, tensor]) for link, tensor in self.sent)
        total += sum(cost.link_used[link] for link in self.links)
        return total + (cost.device_used if any(place == 0 for _, place in self.computed) else 0.0)


def downsets(graph: CutGraph, most: int | None = None) -> list[frozenset[int]] | None:
    """Every set of operations that holds what its members depend on; None if there are more than `most`."""
    needs: list[set[int]] = [set() for _ in graph.operations]
    for tensor in graph.tensors:
        for reader in tensor.consumers:
            if tensor.producer != INPUT:
                needs[reader].add(tensor.producer)
    found = {frozenset[int]()}
    frontier = [frozenset[int]()]
    while frontier:
        larger = {
            here | {operation}
            for here in frontier
            for operation in range(len(needs))
            if operation not in here and needs[operation] <= here
        }
        found |= larger
        if most is not None and len(found) > most:
            return None
        frontier = list(larger)
    return sorted(found, key=lambda chosen: (len(chosen), sorted(chosen)))


def journey(graph: CutGraph, places: Places) -> Journey:
    """Follow one frame. A tensor sits on the tiers it has come to; whoever lacks it has it sent, link by link."""
    seen = Journey()
    here: dict[int, int] = {index: 0 for index, tensor in enumerate(graph.tensors) if tensor.producer == INPUT}

    def bring(tensor: int, tier: int) -> None:
        while here[tensor] < tier:
            seen.sent.add((here[tensor], tensor))
            here[tensor] += 1

    for operation, place in enumerate(places):
        for index, tensor in enumerate(graph.tensors):
            if operation in tensor.consumers:
                bring(index, place)
        seen.computed.append((operation, place))
        for index, tensor in enumerate(graph.tensors):
            if tensor.producer == operation:
                here[index] = place
    last = max(places)
    seen.links = set(range(last))
    for index, tensor in enumerate(graph.tensors):
        if tensor.is_output:
            bring(index, last)
    return seen


def every_cut(graph: CutGraph) -> Iterator[tuple[frozenset[int], frozenset[int]]]:
    """All pairs of nested downsets."""
    sets = downsets(graph)
    assert sets is not None
    for device in sets:
        for until_cloud in sets:
            if device <= until_cloud:
                yield device, until_cloud


def places_of(graph: CutGraph, device: frozenset[int], until_cloud: frozenset[int]) -> Places:
    return tuple(
        0 if operation in device else 1 if operation in until_cloud else 2
        for operation in range(len(graph.operations))
    )


def allowed(problem: CutProblem, cuts: tuple[frozenset[int], frozenset[int]], seen: Journey) -> bool:
    if any(seen.cost(limit.cost) > limit.bound * (1 + 1e-9) for limit in problem.limits):
        return False
    if problem.barred is not None and any(problem.barred[link, tensor] for link, tensor in seen.sent):
        return False
    if any(pin is not None and pin != cut for pin, cut in zip(problem.pinned, cuts, strict=True)):
        return False
    if any(together <= seen.sent for together in problem.not_together):
        return False
    return not any(
        (first is None or first == cuts[0]) and (second is None or second == cuts[1])
        for first, second in problem.excluded
    )


def best_by_trying_all(problem: CutProblem) -> float | None:
    """The least value of any cut that is allowed; None if none is."""
    best: float | None = None
    for cuts in every_cut(problem.graph):
        seen = journey(problem.graph, places_of(problem.graph, *cuts))
        if allowed(problem, cuts, seen):
            value = seen.cost(problem.additive)
            value += problem.stage_weight * max((seen.cost(stage) for stage in problem.stages), default=0.0)
            best = value if best is None else min(best, value)
    return best
