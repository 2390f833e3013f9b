"""The best three-tier cut under linear costs, exactly.

Two variables an operation ("at edge or beyond", "in cloud"), one per tensor and link ("as far as its farthest
reader"), one per link ("used"): every constraint is a difference of two variables, so the linear program has an
integral optimum. Limits and bottlenecks break that; the same model is then solved as a mixed-integer program.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, vstack

from tercet.errors import InfeasibleError, InvariantError
from tercet_cloud.planner.cut_graph import Assignment, CutGraph, Mask
from tercet_cloud.planner.cut_merging import merged_columns
from tercet_cloud.planner.cut_program import CutProgram, differences, program_of
from tercet_cloud.planner.linear_cost import Float64Array, LinearCost

log = logging.getLogger(__name__)

# Costs are scaled so that the largest is this: HiGHS's absolute tolerances (1e-6 and less) are then far below any.
_LARGEST_COST = 1e4
# What decides among equals, in scaled cost: far above HiGHS's tolerances, far below what anybody measures.
_PER_LINK, _PER_TENSOR = 1e-5, 1e-6
_INTEGRAL_WITHIN = 1e-5
# Sums of the same costs in another order differ by this part.
_SAME_SUM = 1e-9
_MOST_HAIRS = 50
_INFEASIBLE = 2


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
    """The best assignment and its value; `solved_as` says whether a linear program was enough."""

    assignment: Assignment
    value: float
    solved_as: str  # "lp" or "milp"


def solve_cut(problem: CutProblem) -> CutSolution:
    """The best cut; among cuts of equal value one with few links and few tensors on them, always the same.

    Promise: no cut that keeps the limits is better by more than 1e-8 of the largest single cost.

    Raises:
        InfeasibleError: no cut keeps all limits; names, for each limit alone, the smallest bound that would do.
    """
    solution = _solve(problem)
    if solution is None:
        raise InfeasibleError(_what_binds(problem))
    return solution


def solve_cuts(problems: Sequence[CutProblem]) -> list[CutSolution | None]:
    """Many problems; None where a problem has no solution. Quickest if the graph is the same."""
    return [_solve(problem) for problem in problems]


def _solve(problem: CutProblem) -> CutSolution | None:
    program = program_of(problem.graph)
    if not problem.stages:
        # What limits and exclusions take away often is not what is best anyway.
        point = _linear_optimum(program, problem)
        if point is None:
            return None
        if _is_integral(point, program):
            assignment = _assignment(point, problem)
            if _is_allowed(assignment, problem):
                return CutSolution(assignment, _value(assignment, problem), "lp")
        else:
            log.warning("a cut's linear program has a fractional optimum; solving as mixed-integer program")
    for _ in range(_MOST_HAIRS):
        point = _integer_optimum(program, problem)
        if point is None:
            return None
        assignment = _assignment(point, problem)
        if _is_allowed(assignment, problem):
            return CutSolution(assignment, _value(assignment, problem), "milp")
        # The solver's tolerance let a limit be broken by a hair.
        problem = replace(problem, excluded=(*problem.excluded, (assignment.before(0), assignment.before(1))))
    raise InvariantError(f"{_MOST_HAIRS} cuts in turn break a limit by less than the solver sees")


def _linear_optimum(program: CutProgram, problem: CutProblem) -> Float64Array | None:
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


def _integer_optimum(program: CutProgram, problem: CutProblem) -> Float64Array | None:
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


def _is_integral(point: Float64Array, program: CutProgram) -> bool:
    assigned = point[: 2 * len(program.graph.operations)]
    return bool((abs(assigned - assigned.round()) <= _INTEGRAL_WITHIN).all())


def _assignment(point: Float64Array, problem: CutProblem) -> Assignment:
    """The rounded optimum, checked against everything a linear program of differences has to keep."""
    graph = problem.graph
    beyond, cloud = (point[: 2 * len(graph.operations)] > 0.5).reshape(2, -1)
    assignment = Assignment(beyond, cloud)
    if (cloud & ~beyond).any() or any(mask[i] and not mask[j] for mask in (beyond, cloud) for i, j in graph.edges):
        raise InvariantError("a cut that HiGHS found lets data flow backwards")
    for link, before in enumerate(problem.pinned):
        if before is not None and assignment.before(link) != before:
            raise InvariantError("a cut that HiGHS found is not where it was pinned")
        if problem.barred is not None and problem.barred[link, list(assignment.crossing(graph, link))].any():
            raise InvariantError("a tensor that is barred crosses in a cut that HiGHS found")
    return assignment


def _is_allowed(assignment: Assignment, problem: CutProblem) -> bool:
    """Whether an assignment keeps the limits, is not excluded and lets nothing cross together that must not."""
    if any(
        limit.cost.of(problem.graph, assignment) > limit.bound + _SAME_SUM * abs(limit.bound)
        for limit in problem.limits
    ):
        return False
    cuts = (assignment.before(0), assignment.before(1))
    if any(
        all(before is None or before == cut for before, cut in zip(excluded, cuts, strict=True))
        for excluded in problem.excluded
    ):
        return False
    if not problem.not_together:
        return True
    crossing = {(link, tensor) for link in (0, 1) for tensor in assignment.crossing(problem.graph, link)}
    return not any(together <= crossing for together in problem.not_together)


def _value(assignment: Assignment, problem: CutProblem) -> float:
    bottleneck = max((stage.of(problem.graph, assignment) for stage in problem.stages), default=0.0)
    return problem.additive.of(problem.graph, assignment) + problem.stage_weight * bottleneck


def _what_binds(problem: CutProblem) -> str:
    """Which limits leave no cut, and the smallest bounds that would."""
    free = replace(problem, additive=LinearCost.zero(problem.graph), stages=(), limits=())
    if _solve(free) is None:
        return (
            "no cut is left by what may not cross a link, where cuts are pinned and what was excluded: allow more"
        )
    alone = []
    for limit in problem.limits:
        others = tuple(other for other in problem.limits if other is not limit)
        best = _solve(replace(free, additive=limit.cost, limits=others))
        if best is not None:
            alone.append(_relaxed(limit, best.value))
    if alone:
        return f"no plan keeps all limits; enough would be {', or '.join(alone)}"
    relaxed, together = list(problem.limits), []
    for index, limit in enumerate(problem.limits):
        best = _solve(replace(free, additive=limit.cost, limits=tuple(relaxed[:index])))
        if best is None:
            raise InvariantError(f"no cut keeps {limit.name} although one was found before")
        if best.value > limit.bound:
            relaxed[index] = replace(limit, bound=best.value)
            together.append(_relaxed(limit, best.value))
    return f"no plan keeps all limits, and no single one is to blame; enough would be {' with '.join(together)}"


def _relaxed(limit: Limit, needed: float) -> str:
    return f"{limit.name} {_rounded_up(needed)} {limit.unit} (now {limit.bound:g})"


def _rounded_up(value: float) -> str:
    """Four digits that are not less than `value`."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3) if value > 0 else 1.0
    return f"{math.ceil(value / unit * (1 - _SAME_SUM)) * unit:g}"
