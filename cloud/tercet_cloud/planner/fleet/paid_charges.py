"""Which shared charges to pay: which blocks of weights every edge loads.

The relaxation may load a tenth of a block, so that its bound is low where memory is short. Here blocks are loaded
whole or not at all, while devices stay divisible; given the blocks, all options that need no others are priced
again, until no better ones turn up. What comes out is a good choice, not a proven one: `fleet_plan` tells how far
from the bound it may be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from tercet_cloud.planner.fleet.fleet_problem import FleetProblem, IndexArray
from tercet_cloud.planner.fleet.relaxation import ROOM, Relaxation, Rows, relax
from tercet_cloud.planner.fleet.solver_output import solver_silenced

Mask = npt.NDArray[np.bool_]

_MOST_ROUNDS = 6
_BETTER = 1e-6


@dataclass(frozen=True)
class Settled:
    """A problem with its charges settled: without charges, and its relaxation.

    `original`: (options,) their indices in the problem it was made from. `paid`: (charges,) of that problem.
    """

    problem: FleetProblem
    original: IndexArray
    paid: Mask
    relaxation: Relaxation


def settle(
    problem: FleetProblem, rows: Rows, relaxation: Relaxation, *, gap: float, limit_s: float
) -> Settled | None:
    """The best charges found, each program stopping within `gap` or after `limit_s`; None if none was found.

    Args:
        relaxation: of `problem`.
    """
    count = len(problem.charges.amount)
    if not count:
        return Settled(problem, np.arange(len(problem.value)), np.zeros(0, np.bool_), relaxation)
    best: Settled | None = None
    columns = relaxation.columns
    for _ in range(_MOST_ROUNDS):
        paid = _choose(problem, rows, columns, gap, limit_s)
        if paid is None:
            break
        settled, original = problem.with_paid(paid)
        begin = np.flatnonzero(np.isin(original, columns)).astype(np.intp)
        found = relax(settled, Rows(settled), begin)
        if best is None or found.value < best.relaxation.value - _BETTER * abs(best.relaxation.value):
            best = Settled(settled, original, paid, found)
        fresh = np.setdiff1d(original[found.columns], columns)
        if not len(fresh):
            break
        columns = np.union1d(columns, fresh)
    return best


def _choose(problem: FleetProblem, rows: Rows, columns: IndexArray, gap: float, limit_s: float) -> Mask | None:
    """(charges,) that are best paid if only the options `columns` are offered, their devices divisible."""
    charges = len(problem.charges.amount)
    value = problem.value[columns] * problem.units[problem.cohort_of[columns]]
    matrix = sparse.hstack([rows.options[:, columns], rows.charges])
    shares = sparse.hstack([rows.cohorts[:, columns], sparse.csc_array((len(problem.units), charges))])
    with solver_silenced():
        result = milp(
            np.append(value / max(float(np.abs(value).mean()), 1e-300), np.zeros(charges)),
            integrality=np.repeat([0, 1], [len(columns), charges]),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(sparse.csc_array(matrix), -np.inf, rows.capacity + ROOM),
                LinearConstraint(sparse.csc_array(shares), 1, 1),
            ],
            options={"mip_rel_gap": gap, "time_limit": limit_s},
        )
    return None if result.x is None else result.x[len(columns) :] > 0.5
