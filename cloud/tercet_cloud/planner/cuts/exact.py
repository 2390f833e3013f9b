"""The best three-tier cut under linear costs, exactly.

Two variables an operation ("at edge or beyond", "in cloud"), one per tensor and link ("as far as its farthest
reader"), one per link ("used"): every constraint is a difference of two variables, so the linear program has an
integral optimum. Limits and bottlenecks break that: narrow networks have few cuts, which are then all tried, wide
ones become a mixed-integer program. What the solver says is checked: that data flows forward, that all is kept, and
that it costs what the costs say.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from tercet.errors import InfeasibleError, InvariantError
from tercet_cloud.planner.cuts.cut_enumeration import MOST_CUTS, every_cut
from tercet_cloud.planner.cuts.cut_graph import Assignment
from tercet_cloud.planner.cuts.cut_optimum import integer_optimum, linear_optimum
from tercet_cloud.planner.cuts.cut_problem import CutProblem, CutSolution, Limit
from tercet_cloud.planner.cuts.cut_program import CutProgram, program_of
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost

__all__ = ["CutProblem", "CutSolution", "Limit", "solve_cut", "solve_cuts"]

log = logging.getLogger(__name__)

_INTEGRAL_WITHIN = 1e-5
# Sums of the same costs in another order differ by this part.
_SAME_SUM = 1e-9
# How much, as a part of the largest coefficient, variables that are not quite whole may change a price.
_SAME_PRICE = 1e-3
_MOST_HAIRS = 50


def solve_cut(problem: CutProblem, *, most_tried: int = MOST_CUTS) -> CutSolution:
    """The best cut; among cuts of equal value one with few links and few tensors on them, always the same.

    Promise: no cut that keeps the limits is better by more than 1e-8 of the largest single cost.

    Args:
        most_tried: where a linear program is not enough, networks of at most so many single cuts have all tried.
    Raises:
        InfeasibleError: no cut keeps all limits; names, for each limit alone, the smallest bound that would do.
    """
    solution = _solve(problem, most_tried)
    if solution is None:
        raise InfeasibleError(_what_binds(problem, most_tried))
    return solution


def solve_cuts(problems: Sequence[CutProblem], *, most_tried: int = MOST_CUTS) -> list[CutSolution | None]:
    """Many problems; None where a problem has no solution. Quickest if the graph is the same."""
    return [_solve(problem, most_tried) for problem in problems]


def _solve(problem: CutProblem, most_tried: int) -> CutSolution | None:
    program = program_of(problem.graph)
    if not problem.stages:
        # What limits and exclusions take away often is not what is best anyway.
        point = linear_optimum(program, problem)
        if point is None:
            return None
        if _is_integral(point, program):
            assignment = _assignment(point, program, problem)
            if _is_allowed(assignment, problem):
                return CutSolution(assignment, _value(assignment, problem), "lp")
        else:
            log.warning("a cut's linear program has a fractional optimum; solving as mixed-integer program")
    cuts = every_cut(problem.graph, most_tried)
    if cuts is not None:
        best = cuts.best(problem)
        return None if best is None else CutSolution(best, _value(best, problem), "all")
    for _ in range(_MOST_HAIRS):
        point = integer_optimum(program, problem)
        if point is None:
            return None
        assignment = _assignment(point, program, problem)
        if _is_allowed(assignment, problem):
            return CutSolution(assignment, _value(assignment, problem), "milp")
        # The solver's tolerance let a limit be broken by a hair.
        problem = replace(problem, excluded=(*problem.excluded, (assignment.before(0), assignment.before(1))))
    raise InvariantError(f"{_MOST_HAIRS} cuts in turn break a limit by less than the solver sees")


def _is_integral(point: Float64Array, program: CutProgram) -> bool:
    assigned = point[: 2 * len(program.graph.operations)]
    return bool((abs(assigned - assigned.round()) <= _INTEGRAL_WITHIN).all())


def _assignment(point: Float64Array, program: CutProgram, problem: CutProblem) -> Assignment:
    """The rounded optimum, checked against everything the program has to keep, its cost included."""
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
    row, constant = program.coefficients(problem.additive)
    priced = float(row @ point[: program.columns]) + constant
    if abs(priced - problem.additive.of(graph, assignment)) > _SAME_PRICE * float(abs(row).max()):
        raise InvariantError("HiGHS prices a cut otherwise than its costs say, which must not be negative")
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


def _what_binds(problem: CutProblem, most_tried: int) -> str:
    """Which limits leave no cut, and the smallest bounds that would."""
    free = replace(problem, additive=LinearCost.zero(problem.graph), stages=(), limits=())
    if _solve(free, most_tried) is None:
        return (
            "no cut is left by what may not cross a link, where cuts are pinned and what was excluded: allow more"
        )
    alone = []
    for limit in problem.limits:
        others = tuple(other for other in problem.limits if other is not limit)
        best = _solve(replace(free, additive=limit.cost, limits=others), most_tried)
        if best is not None:
            alone.append(_relaxed(limit, best.value))
    if alone:
        return f"no plan keeps all limits; enough would be {', or '.join(alone)}"
    relaxed, together = list(problem.limits), []
    for index, limit in enumerate(problem.limits):
        best = _solve(replace(free, additive=limit.cost, limits=tuple(relaxed[:index])), most_tried)
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
