"""What a cut problem asks, and what its answer is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tercet_cloud.planner.cuts.cut_graph import Assignment, CutGraph
from tercet_cloud.planner.cuts.linear_cost import LinearCost


@dataclass(frozen=True)
class Limit:
    """`cost` must be at most `bound`; `name` and `unit` are for people ("device memory", "bytes")."""

    name: str
    cost: LinearCost
    bound: float
    unit: str


@dataclass(frozen=True)
class CutProblem:
    """What to minimise, and what is allowed.

    Attributes:
        additive: minimised in sum.
        stages: if any, `stage_weight` × the largest of them is minimised as well: the bottleneck of a pipeline.
        limits: side constraints.
        barred: (2, tensors) bool: tensors that must not cross a link (private input, dtypes or codecs that
            cannot carry them).
        excluded: what must not come out, e.g. because its accuracy was measured and is too low: operations before
            the first and before the second link, None for "whatever".
        pinned: for each link None, or the operations before it (an image codec forces a cut at the input).
        not_together: sets of (link, tensor) crossings that must not all happen, e.g. because that loses too much
            accuracy. Sets of one are as well barred, which is solved sooner.
    """

    graph: CutGraph
    additive: LinearCost
    stages: tuple[LinearCost, ...] = ()
    stage_weight: float = 1.0
    limits: tuple[Limit, ...] = ()
    barred: npt.NDArray[np.bool_] | None = None
    excluded: tuple[tuple[frozenset[int] | None, frozenset[int] | None], ...] = ()
    pinned: tuple[frozenset[int] | None, frozenset[int] | None] = (None, None)
    not_together: tuple[frozenset[tuple[int, int]], ...] = ()


@dataclass(frozen=True)
class CutSolution:
    """The best assignment and its value.

    `solved_as` says how: a linear program was enough, all cuts were tried, or it took a mixed-integer program.
    """

    assignment: Assignment
    value: float
    solved_as: Literal["lp", "all", "milp"]
