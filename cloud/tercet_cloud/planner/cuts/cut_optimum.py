"""A cut problem as HiGHS takes it: a linear program without its limits, a mixed-integer one with all it has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, vstack

from tercet.errors import InvariantError
from tercet_cloud.planner.cuts.cut_graph import Mask
from tercet_cloud.planner.cuts.cut_merging import merged_columns
from tercet_cloud.planner.cuts.cut_problem import CutProblem
from tercet_cloud.planner.cuts.cut_program import CutProgram, differences
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost

# Costs are scaled so that the largest is this: HiGHS's absolute tolerances (1e-6 and less) are then far below any.
_LARGEST_COST = 1e4
# What decides among equals, in scaled cost: far above HiGHS's tolerances, far below what anybody measures.
_PER_LINK, _PER_TENSOR = 1e-5, 1e-6
_INFEASIBLE = 2


def linear_optimum(program: CutProgram, problem: CutProblem) -> Float64Array | None:
    """(columns,) the optimum without limits, exclusions and stages; None if bars and pins leave nothing."""
    cost, pairs = _scaled_cost(program, problem), program.order
    low, high = _bounds(program, problem)
    if problem.barred is not None:
        more, zero = program.bars(problem.barred)
        pairs, high[zero] = np.concatenate([pairs, more]), 0
    if (low > high).any():
        return None
    # Barred columns of merged operations are bounded by one of them, as bars are among what keeps them together.
    place = merged_columns(program, cost, problem.barred, _pinned_masks(problem))
    count = int(place.max()) + 1
    moved = place[pairs]
    moved = moved[moved[:, 0] != moved[:, 1]]
    lowest, highest = np.zeros(count), np.ones(count)
    np.maximum.at(lowest, place, low)
    np.minimum.at(highest, place, high)
    found = _minimise(
        np.bincount(place, program.coefficients(cost)[0], count).astype(np.float64),
        differences(moved, count),
        np.zeros(len(moved)),
        (lowest, highest),
    )
    return None if found is None else found[place]


def integer_optimum(program: CutProgram, problem: CutProblem) -> Float64Array | None:
    """(columns,) the optimum with everything; None if nothing is allowed."""
    objective = program.coefficients(_scaled_cost(program, problem))[0]
    low, high = _bounds(program, problem)
    matrix = program.order_rows
    if problem.barred is not None:
        more, zero = program.bars(problem.barred)
        matrix, high[zero] = vstack([matrix, differences(more, program.columns)]), 0
    if (low > high).any():
        return None
    bounds = list(_limit_rows(program, problem))
    rows = [row for row, _ in bounds]
    upper = [bound for _, bound in bounds]
    if problem.stages:
        # One more column, for the largest stage, in units of the largest coefficient of any.
        stages = [program.coefficients(stage) for stage in problem.stages]
        unit = max(float(abs(row).max()) for row, _ in stages) or 1.0
        objective = np.append(objective, problem.stage_weight * unit * _scale(program, problem))
        low, high = np.append(low, 0.0), np.append(high, np.inf)
        rows = [np.append(row, 0.0) for row in rows] + [np.append(row / unit, -1.0) for row, _ in stages]
        upper += [-constant / unit for _, constant in stages]
        matrix = hstack([matrix, csr_array((matrix.shape[0], 1))])
    if rows:
        matrix = vstack([matrix, csr_array(np.array(rows))])
    assigned = np.arange(len(objective)) < 2 * len(problem.graph.operations)
    at_most = np.concatenate([np.zeros(matrix.shape[0] - len(upper)), upper])
    return _minimise(objective, matrix, at_most, (low, high), assigned)


def _minimise(
    objective: Float64Array,
    matrix: csr_array,
    upper: Float64Array,
    bounds: tuple[Float64Array, Float64Array],
    integral: Mask | None = None,
) -> Float64Array | None:
    """HiGHS's optimum of objective · x for matrix @ x ≤ upper within bounds; None if nothing is."""
    if not np.isfinite(objective).all():
        raise InvariantError("a cost of a cut problem is not a finite number")
    found = milp(
        objective,
        integrality=integral,
        bounds=Bounds(*bounds),
        constraints=LinearConstraint(matrix, -np.inf, upper),
        # Without presolve a plain program is solved sooner: little is left to remove.
        options={"presolve": integral is not None, "mip_rel_gap": 0.0},
    )
    if found.status == _INFEASIBLE:
        return None
    if found.x is None or found.status:
        raise InvariantError(f"HiGHS could not solve a cut problem: {found.message}")
    point: Float64Array = found.x
    return point


def _limit_rows(program: CutProgram, problem: CutProblem) -> Iterator[tuple[Float64Array, float]]:
    """Rows of limits and exclusions with what each may be at most."""
    for limit in problem.limits:
        row, constant = program.coefficients(limit.cost)
        unit = max(float(abs(row).max()), abs(limit.bound - constant)) or 1.0
        yield row / unit, (limit.bound - constant) / unit
    for cuts in problem.excluded:
        row, constant = np.zeros(program.columns), 0.0
        for link, before in enumerate(cuts):
            if before is not None:
                apart, first = program.apart(link, before)
                row, constant = row + apart, constant + first
        yield -row, constant - 1
    for crossings in problem.not_together:
        row = np.zeros(program.columns)
        for link, tensor in crossings:
            row += program.crosses(link, tensor)
        yield row, len(crossings) - 1


def _scale(program: CutProgram, problem: CutProblem) -> float:
    costs = [problem.additive, *(stage * problem.stage_weight for stage in problem.stages)]
    largest = max(float(abs(program.coefficients(cost)[0]).max()) for cost in costs)
    return _LARGEST_COST / largest if largest else 1.0


def _scaled_cost(program: CutProgram, problem: CutProblem) -> LinearCost:
    """The additive cost so that HiGHS's absolute tolerances are far below it, with a preference among equals."""
    graph = problem.graph
    simple = LinearCost(
        np.zeros((3, len(graph.operations))), np.full((2, len(graph.tensors)), _PER_TENSOR), (_PER_LINK,) * 2
    )
    return problem.additive * _scale(program, problem) + simple


def _bounds(program: CutProgram, problem: CutProblem) -> tuple[Float64Array, Float64Array]:
    low, high = np.zeros(program.columns), np.ones(program.columns)
    count = len(problem.graph.operations)
    for link, beyond in enumerate(_pinned_masks(problem)):
        if beyond is not None:
            low[link * count : (link + 1) * count] = high[link * count : (link + 1) * count] = beyond
    return low, high


def _pinned_masks(problem: CutProblem) -> tuple[Mask | None, Mask | None]:
    """By link, which operations have to be beyond it; None where that is free."""
    count = len(problem.graph.operations)
    first, second = (
        None if before is None else np.fromiter((index not in before for index in range(count)), bool, count)
        for before in problem.pinned
    )
    return first, second
