"""The fleet's linear relaxation: devices divisible, shared charges paid in part. Its optimum bounds every plan.

Solved by column generation: a few options of each group to begin with, then, by the prices that the linear program
puts on resources and cohorts, whichever options would lower it, until none does. So the bound and the prices are
those of all options, however many there are, while the program stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from tercet.errors import InvariantError
from tercet_cloud.planner.fleet.fleet_problem import FleetProblem, Float64Array, IndexArray

# Beyond the solver's own tolerance, relative to a cohort's mean value.
_PRICE_TOLERANCE = 2e-7
# Relative shortage below which everything fits.
_FITS = 1e-7
# Part of a capacity that rounding may take.
ROOM = 1e-6
_MAX_ROUNDS = 500
# Shares below are rounding.
_BASIS = 1e-9


@dataclass(frozen=True)
class Relaxation:
    """An optimum of the relaxation.

    Attributes:
        value: of the objective: no whole-number plan is better.
        columns: (columns,) ascending: the options it was solved over at last; none of the others would lower it.
        share: (columns,) of each option's cohort, 0…1.
        resource_price: (resources,) what one more usable unit would lower `value` by, at the margin; not negative.
        unit_price: (cohorts,) what one more device would raise it by.
        reduced: (options,) by how much each device on this option raises it at least; not negative.
    """

    value: float
    columns: IndexArray
    share: Float64Array
    resource_price: Float64Array
    unit_price: Float64Array
    reduced: Float64Array

    @property
    def used(self) -> IndexArray:
        """Options of which a share is taken."""
        return self.columns[self.share > _BASIS]


@dataclass(frozen=True)
class Shortage:
    """What is missing at least: (resources,) parts of each one's capacity by which it would have to grow.

    All zero if everything fits. `columns` are options among which the least shortage was found.
    """

    missing: Float64Array
    columns: IndexArray

    @property
    def fits(self) -> bool:
        return float(self.missing.sum()) <= _FITS


class Rows:
    """The constraints as matrices over shares: of each option its cohort's share, of each charge what is paid.

    Inequalities: resources as parts of their capacity; then, for every charge and every cohort that may need it,
    that the cohort's share on such options is no more than what is paid. Equalities: shares of a cohort add up.

    Attributes:
        options: (inequalities, options) CSC; `charges`: (inequalities, charges) CSC.
        capacity: (inequalities,)
        cohorts: (cohorts, options) CSC.
    """

    def __init__(self, problem: FleetProblem) -> None:
        cohorts, options, charges = len(problem.units), len(problem.value), len(problem.charges.amount)
        size = problem.units[problem.cohort_of].astype(np.float64)
        usage = sparse.diags_array(1 / problem.usable) @ problem.usage @ sparse.diags_array(size)
        charge, option = sparse.coo_array(problem.charges.needs).coords
        # One row for each (charge, cohort) that occurs.
        pair = charge.astype(np.int64) * cohorts + problem.cohort_of[option]
        occurring, row = np.unique(pair, return_inverse=True)
        needing = sparse.csc_array((np.ones(len(option)), (row, option)), shape=(len(occurring), options))
        paid = sparse.csc_array(
            (-np.ones(len(occurring)), (np.arange(len(occurring)), occurring // cohorts)),
            shape=(len(occurring), charges),
        )
        paid_from = problem.charges.resource
        drawn = sparse.csc_array(
            (problem.charges.amount / problem.usable[paid_from], (paid_from, np.arange(charges))),
            shape=(len(problem.usable), charges),
        )
        self.options = sparse.csc_array(sparse.vstack([usage, needing]))
        self.charges = sparse.csc_array(sparse.vstack([drawn, paid]))
        self.capacity = np.repeat([1.0, 0.0], [len(problem.usable), len(occurring)])
        self.cohorts = sparse.csc_array(
            (np.ones(options), (problem.cohort_of, np.arange(options))), shape=(cohorts, options)
        )

    @cached_property
    def transposed(self) -> sparse.csr_array:
        """(options, inequalities), to price all options at once."""
        return sparse.csr_array(self.options.T)


def relax(problem: FleetProblem, rows: Rows, columns: IndexArray) -> Relaxation:
    """The relaxation's optimum, from `columns` on, over which it has to have a solution."""
    size = problem.units.astype(np.float64)
    value = problem.value * size[problem.cohort_of]
    scale = max(float(np.abs(value).mean()), 1e-300)
    result, columns, reduced = _generate(problem, rows, columns, value / scale, slack=False)
    return Relaxation(
        value=float(result.fun) * scale,
        columns=columns,
        share=result.x[: len(columns)],
        resource_price=-result.ineqlin.marginals[: len(problem.usable)] / problem.usable * scale,
        unit_price=result.eqlin.marginals * scale / size,
        reduced=np.maximum(reduced, 0.0) * scale / size[problem.cohort_of],
    )


def shortage(problem: FleetProblem, rows: Rows) -> Shortage:
    """By how much what is shared falls short at least, summed over resources as parts of their capacity."""
    begin = first_columns(problem)
    result, columns, _ = _generate(problem, rows, begin, np.zeros(len(problem.value)), slack=True)
    resources = len(problem.usable)
    return Shortage(np.maximum(result.x[-resources:] if resources else np.zeros(0), 0.0), columns)


def first_columns(problem: FleetProblem) -> IndexArray:
    """For each group the option of the best value, the one that uses least, and the one that needs least paid."""
    used = np.asarray((sparse.diags_array(1 / problem.usable) @ problem.usage).sum(axis=0)).ravel()
    needed = problem.charges.needs.T @ problem.charges.amount
    starts = [_least_of_groups(problem, figure) for figure in (problem.value, used, needed)]
    return np.unique(np.concatenate(starts)).astype(np.intp)


def _generate(
    problem: FleetProblem, rows: Rows, columns: IndexArray, value: Float64Array, *, slack: bool
) -> tuple[Any, IndexArray, Float64Array]:
    """Solve, price, take in, until nothing lowers the optimum. With `slack`, capacities may grow at a cost of 1.

    Args:
        value: (options,) of a whole cohort on the option.
    """
    resources = len(problem.usable) if slack else 0
    grown = sparse.csc_array(-sparse.eye_array(len(rows.capacity), resources))
    extra = sparse.hstack([rows.charges, grown])
    extra_cost = np.repeat([0.0, 1.0], [rows.charges.shape[1], resources])
    upper = np.repeat([1.0, np.inf], [rows.charges.shape[1], resources])
    untouched = sparse.csc_array((rows.cohorts.shape[0], extra.shape[1]))
    for _ in range(_MAX_ROUNDS):
        result = linprog(
            np.concatenate([value[columns], extra_cost]),
            A_ub=sparse.csc_array(sparse.hstack([rows.options[:, columns], extra])),
            # A little more than there is, so that what just fits is not lost to rounding.
            b_ub=rows.capacity if slack else rows.capacity + ROOM,
            A_eq=sparse.csc_array(sparse.hstack([rows.cohorts[:, columns], untouched])),
            b_eq=np.ones(len(problem.units)),
            bounds=np.stack(
                [np.zeros(len(columns) + len(upper)), np.append(np.full(len(columns), np.inf), upper)], 1
            ),
            method="highs",
        )
        if result.status != 0:
            raise InvariantError(f"the fleet's linear program was not solved: {result.message}")
        reduced = value - rows.transposed @ result.ineqlin.marginals - result.eqlin.marginals[problem.cohort_of]
        best = _least_of_groups(problem, reduced)
        fresh = np.setdiff1d(best[reduced[best] < -_PRICE_TOLERANCE], columns)
        if not len(fresh) or (slack and result.fun <= _FITS):
            return result, columns, reduced
        columns = np.union1d(columns, fresh)
    raise InvariantError(f"the fleet's linear program did not settle in {_MAX_ROUNDS} rounds")


def _least_of_groups(problem: FleetProblem, figure: Float64Array) -> IndexArray:
    """(groups,) the first option of each group at which `figure` is least."""
    starts = problem.group_starts
    least = np.repeat(np.minimum.reduceat(figure, starts), np.diff(starts, append=len(figure)))
    at_least = np.flatnonzero(figure == least)
    return at_least[np.unique(problem.group_of[at_least], return_index=True)[1]]
