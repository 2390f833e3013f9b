"""The best three-tier cut under linear costs, exactly.

Two variables an operation ("at edge or beyond", "in cloud"), one per tensor and link ("as far as its farthest
reader"), one per link ("used"): every constraint is a difference of two variables, so the linear program has an
integral optimum. Limits and bottlenecks break that; the same model is then solved as a mixed-integer program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tercet_cloud.planner.cut_graph import Assignment, CutGraph
from tercet_cloud.planner.linear_cost import LinearCost


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
    """

    graph: CutGraph
    additive: LinearCost
    stages: tuple[LinearCost, ...] = ()
    stage_weight: float = 1.0
    limits: tuple[Limit, ...] = ()
    barred: npt.NDArray[np.bool_] | None = None
    excluded: tuple[tuple[frozenset[int] | None, frozenset[int] | None], ...] = ()
    pinned: tuple[frozenset[int] | None, frozenset[int] | None] = (None, None)


@dataclass(frozen=True)
class CutSolution:
    """The best assignment and its value; `solved_as` says whether a linear program was enough."""

    assignment: Assignment
    value: float
    solved_as: str  # "lp" or "milp"


def solve_cut(problem: CutProblem) -> CutSolution:
    """The best cut.

    Raises:
        InfeasibleError: no cut keeps all limits; names, for each limit alone, the smallest bound that would do.
    """
    raise NotImplementedError


def solve_cuts(problems: Sequence[CutProblem]) -> list[CutSolution | None]:
    """Many problems over one graph; None where a problem has no solution."""
    raise NotImplementedError
