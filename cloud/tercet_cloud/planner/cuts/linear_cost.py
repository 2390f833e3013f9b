"""A cost that is a sum: over operations and where they run, tensors and the links they cross, links that are used.

Latency, energy, bytes, device memory and the busy time of every stage all have this shape, which is what makes the
best cut a linear program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tercet_cloud.planner.cuts.cut_graph import Assignment, CutGraph

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinearCost:
    """Costs of one kind, all in one unit and not negative.

    Attributes:
        on_tier: (3, operations): an operation on device, edge, cloud.
        over_link: (2, tensors): a tensor over device–edge, edge–cloud, paid once however many need it there.
        link_used: what a link costs as soon as anything is beyond it: round trip, answer's way back.
        device_used: what the device costs as soon as it computes anything.
    """

    on_tier: Float64Array
    over_link: Float64Array
    link_used: tuple[float, float] = (0.0, 0.0)
    device_used: float = 0.0

    @classmethod
    def zero(cls, graph: CutGraph) -> LinearCost:
        return cls(np.zeros((3, len(graph.operations))), np.zeros((2, len(graph.tensors))))

    def __add__(self, other: LinearCost) -> LinearCost:
        return LinearCost(
            self.on_tier + other.on_tier,
            self.over_link + other.over_link,
            (self.link_used[0] + other.link_used[0], self.link_used[1] + other.link_used[1]),
            self.device_used + other.device_used,
        )

    def __mul__(self, factor: float) -> LinearCost:
        return LinearCost(
            self.on_tier * factor,
            self.over_link * factor,
            (self.link_used[0] * factor, self.link_used[1] * factor),
            self.device_used * factor,
        )

    def of(self, graph: CutGraph, assignment: Assignment) -> float:
        """The cost of one assignment."""
        beyond, cloud = assignment.masks
        tier = beyond.astype(np.intp) + cloud
        total = float(self.on_tier[tier, np.arange(len(tier))].sum())
        for link in (0, 1):
            if assignment.uses(link):
                total += float(self.over_link[link, list(assignment.crossing(graph, link))].sum())
                total += self.link_used[link]
        if not beyond.all():
            total += self.device_used
        return total
