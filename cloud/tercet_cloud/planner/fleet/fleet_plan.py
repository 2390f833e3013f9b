"""The best choice of plans for a fleet: devices in whole numbers, every shared limit kept.

The relaxation gives a bound; then charges are settled, and an integer program over the options that the relaxation
uses gives whole numbers. If that is further from the bound than asked for and the problem is small enough, one more
program over all options that could still better it: an option whose reduced cost exceeds the distance between plan
and bound cannot, so leaving it out loses nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from tercet.errors import InfeasibleError
from tercet_cloud.planner.fleet.fleet_problem import CountArray, FleetProblem, Float64Array, IndexArray
from tercet_cloud.planner.fleet.paid_charges import Settled, settle
from tercet_cloud.planner.fleet.relaxation import ROOM, Relaxation, Rows, relax, shortage
from tercet_cloud.planner.fleet.tidying import tidied
from tercet_cloud.planner.searching.relaxation import rounded_up

DEFAULT_GAP = 1e-3
# Options of an integer program with charges that is still solved to the end.
_MOST_EXACT = 4000
_SHORTAGES_SHOWN = 3


@dataclass(frozen=True)
class FleetChoice:
    """A plan for the fleet.

    Attributes:
        options, devices: (chosen,) what was chosen, and for how many devices each.
        value: the sum of values.
        solved, relaxation: the problem (of whole cohorts, if they are not divided) and its relaxation, whose value
            is the bound below which no plan lies.
        load: (resources,) what it uses.
        settled: `solved` with its charges settled: what prices of resources refer to.
        proven: whether `value` was proven to be within the gap asked for.
        solve_ms: in all.
    """

    options: IndexArray
    devices: CountArray
    value: float
    solved: FleetProblem
    relaxation: Relaxation
    load: Float64Array
    settled: Settled
    proven: bool
    solve_ms: float

    @property
    def gap(self) -> float:
        """How far the value may be from the best, as a part of it."""
        return _gap(self.value, self.relaxation.value)


def plan_fleet(
    problem: FleetProblem, *, divide: bool = True, gap: float = DEFAULT_GAP, limit_s: float = 10.0
) -> FleetChoice:
    """The best plan, or one close to it; `proven` and `gap` say how close.

    Args:
        divide: whether a cohort's devices may be divided among options.
        gap: as a part of the value; half of it may go into fewer parts.
        limit_s: for each integer program; what was found by then is taken.
    Raises:
        InfeasibleError: what is shared falls short; names the resources and by how much.
    """
    started = time.perf_counter()
    solved = problem if divide else problem.undivided()
    rows = Rows(solved)
    lacking = shortage(solved, rows)
    if not lacking.fits:
        raise InfeasibleError(shortage_text(solved, lacking.missing))
    relaxation = relax(solved, rows, lacking.columns)
    settled = settle(solved, rows, relaxation, gap=gap / 4, limit_s=limit_s)
    best = None if settled is None else _rounded(settled, gap / 4, limit_s)
    proven = best is not None and _gap(best.value, relaxation.value) <= gap
    if not proven:
        distance = np.inf if best is None else best.value - relaxation.value
        promising = np.flatnonzero(relaxation.reduced <= distance).astype(np.intp)
        if best is None or len(promising) <= _MOST_EXACT:
            last = _solve(solved, rows, promising, gap, limit_s)
            proven = last.finished
            if best is None or last.value < best.value:
                best, settled = last, None
    if best is None or best.counts is None:
        raise InfeasibleError(_indivisible_text(solved, rows, relaxation, limit_s, proven=proven, divide=divide))
    options, counts = best.options[best.counts > 0], best.counts[best.counts > 0]
    devices = counts if divide else counts * problem.units[problem.cohort_of[options]]
    allowance = gap * best.value - (best.value - relaxation.value if proven else 0.0)
    options, devices = tidied(problem, options, devices, max(0.0, allowance) / 2)
    return FleetChoice(
        options=options,
        devices=devices,
        value=float(problem.value[options] @ devices),
        solved=solved,
        relaxation=relaxation,
        load=problem.load(options, devices),
        settled=settled or _settled_by(solved, options),
        proven=proven,
        solve_ms=(time.perf_counter() - started) * 1e3,
    )


def shortage_text(problem: FleetProblem, missing: Float64Array) -> str:
    """What lacks, the largest part of its capacity first, in the resources' own units."""
    return (
        f"the fleet needs more than it shares, whatever the plans: {_lacking(problem, missing)}. "
        "Add that, or have fewer devices or frames"
    )


@dataclass(frozen=True)
class _Found:
    """Of an integer program over `options`: counts, or None; whether it was solved to the end."""

    options: IndexArray
    counts: CountArray | None
    value: float
    finished: bool
    growth: Float64Array


def _rounded(settled: Settled, gap: float, limit_s: float) -> _Found | None:
    """Whole numbers over the options that the settled relaxation uses, or as many as it looked at."""
    rows, relaxation = Rows(settled.problem), settled.relaxation
    used = np.isin(relaxation.columns, relaxation.used) | (relaxation.reduced[relaxation.columns] <= 0)
    best: _Found | None = None
    for columns in (relaxation.columns[used], relaxation.columns):
        found = _solve(settled.problem, rows, columns, gap, limit_s)
        if found.counts is not None and (best is None or found.value < best.value):
            best = found
        if best is not None and _gap(best.value, relaxation.value) <= 2 * gap:
            break
    return None if best is None else replace(best, options=settled.original[best.options])


def _settled_by(problem: FleetProblem, options: IndexArray) -> Settled:
    """The charges that a choice of options pays."""
    paid = np.asarray(problem.charges.needs[:, options].sum(axis=1)).ravel() > 0
    settled, original = problem.with_paid(paid)
    begin = np.flatnonzero(np.isin(original, options)).astype(np.intp)
    return Settled(settled, original, paid, relax(settled, Rows(settled), begin))


def _solve(
    problem: FleetProblem, rows: Rows, options: IndexArray, gap: float, limit_s: float, *, grow: bool = False
) -> _Found:
    """The integer program over `options`. With `grow` it minimises by how much capacities have to grow."""
    resources = len(problem.usable) if grow else 0
    size = problem.units[problem.cohort_of[options]].astype(np.float64)
    cost = problem.value[options]
    scale = max(float(np.abs(cost).mean()), 1e-300)
    charges = rows.charges.shape[1]
    per_unit = sparse.diags_array(1 / size)
    grown = sparse.csc_array(-sparse.eye_array(len(rows.capacity), resources))
    extra = charges + resources
    result: Any = milp(
        np.concatenate(
            [np.zeros(len(options)) if grow else cost / scale, np.repeat([0.0, 1.0], [charges, resources])]
        ),
        integrality=np.repeat([1, 1, 0], [len(options), charges, resources]),
        bounds=Bounds(0, np.concatenate([size, np.repeat([1.0, np.inf], [charges, resources])])),
        constraints=[
            LinearConstraint(
                sparse.csc_array(sparse.hstack([rows.options[:, options] @ per_unit, rows.charges, grown])),
                -np.inf,
                rows.capacity + ROOM,
            ),
            LinearConstraint(
                sparse.csc_array(
                    sparse.hstack(
                        [
                            _counting(problem, options),
                            sparse.csc_array((len(problem.units), extra)),
                        ]
                    )
                ),
                problem.units,
                problem.units,
            ),
        ],
        options={"mip_rel_gap": gap, "time_limit": limit_s},
    )
    finished = result.status in (0, 2)
    if result.x is None:
        return _Found(options, None, np.inf, finished, np.zeros(0))
    counts = np.rint(result.x[: len(options)]).astype(np.int64)
    return _Found(options, counts, float(cost @ counts), finished, result.x[len(result.x) - resources :])


def _counting(problem: FleetProblem, options: IndexArray) -> sparse.csc_array:
    """(cohorts, options) that adds up the devices of each cohort."""
    return sparse.csc_array(
        (np.ones(len(options)), (problem.cohort_of[options], np.arange(len(options)))),
        shape=(len(problem.units), len(options)),
    )


def _indivisible_text(
    problem: FleetProblem, rows: Rows, relaxation: Relaxation, limit_s: float, *, proven: bool, divide: bool
) -> str:
    if not proven:
        return (
            f"no plan was found within {limit_s:g} s; what is shared is nearly used up: add to it, or wait longer"
        )
    grown = _solve(problem, rows, relaxation.columns, DEFAULT_GAP, limit_s, grow=True)
    advice = "add that" if divide else "add that, or let cohorts be divided (divide_cohorts: true)"
    whole = "devices and blocks of weights" if divide else "cohorts"
    return f"what is shared is enough only if {whole} could be divided: {_lacking(problem, grown.growth)}; {advice}"


def _lacking(problem: FleetProblem, missing: Float64Array) -> str:
    short = [int(index) for index in np.argsort(-missing, kind="stable") if missing[index] > ROOM]
    texts = []
    for index in short[:_SHORTAGES_SHOWN]:
        resource = problem.resources[index]
        usable = f" ({resource.share:.0%} of it usable)" if resource.share < 1 else ""
        needed = rounded_up(float(missing[index]) * resource.stated)
        texts.append(f"{resource.name}: {needed} {resource.unit} more than {resource.stated:g}{usable}")
    more = f"; and {len(short) - len(texts)} more" if len(short) > len(texts) else ""
    return "; ".join(texts) + more


def _gap(value: float, bound: float) -> float:
    return max(0.0, value - bound) / max(abs(value), 1e-300)
