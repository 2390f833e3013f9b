"""The fewest plans that do nearly as well as the best one under every condition, if they can share blocks.

Pure over a table of gaps; which plans cannot stand side by side is told by pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from tercet.errors import InfeasibleError, InvariantError
from tercet_cloud.planner.cuts.linear_cost import Float64Array

_INFEASIBLE = 2
# Among equally many plans those that are nearer to the best; never worth one plan more.
_NEARNESS = 1e-3


def smallest_cover(gaps: Float64Array, conflicts: Sequence[tuple[int, int]], slack: float) -> list[int] | None:
    """The fewest plans of which one is within `slack` under every condition; None if no set without conflict is.

    Args:
        gaps: (conditions, plans): how much worse than the best a plan is, as a part of the best; inf where it
            cannot be used.
        conflicts: pairs of plans of which at most one can be taken.
    """
    conditions, plans = gaps.shape
    if not conditions:
        return []
    near = gaps <= slack
    if not near.any(axis=1).all():
        return None
    # Conditions with the same near plans ask the same.
    rows = np.unique(near, axis=0).astype(np.float64)
    constraints = [LinearConstraint(rows, np.ones(len(rows)))]
    if conflicts:
        apart = np.zeros((len(conflicts), plans))
        for row, pair in enumerate(conflicts):
            apart[row, list(pair)] = 1
        constraints.append(LinearConstraint(apart, -np.inf, 1))
    found = milp(
        1 + _NEARNESS * np.minimum(gaps, 1.0).mean(axis=0),
        integrality=np.ones(plans),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.status == _INFEASIBLE:
        return None
    if found.x is None or found.status:
        raise InvariantError(f"HiGHS could not choose plans for a table: {found.message}")
    return np.flatnonzero(found.x > 0.5).tolist()


def nearest_cover(gaps: Float64Array, conflicts: Sequence[tuple[int, int]]) -> tuple[list[int], float]:
    """The plans without conflict whose worst gap over all conditions is smallest, and that gap; few of those.

    Raises:
        InfeasibleError: every set without conflict leaves a condition without a plan.
    """
    bounds = np.unique(gaps[np.isfinite(gaps)])
    low, high = 0, len(bounds) - 1
    best: tuple[list[int], float] | None = None
    while low <= high:
        middle = (low + high) // 2
        chosen = smallest_cover(gaps, conflicts, float(bounds[middle]))
        if chosen is None:
            low = middle + 1
        else:
            best = (chosen, float(bounds[middle]))
            high = middle - 1
    if best is None:
        raise InfeasibleError(
            "no plans that can share blocks serve every condition of this range: plan for parts of it apart"
        )
    return best
