"""The few plans that together are nearly as good as the best plan under every condition, and blocks they share.

For every condition the best plan of all (`best_plans`), then of those the smallest set of which one is always
within 5 % (`plan_cover`). The cuts of a set have to be nested, as the manifest is one chain of boundaries: where
the best plans' cuts cross each other, plans with the cuts' meets and joins are considered too. Accuracy is measured
for plans that are to be used, no others.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tercet.errors import InfeasibleError
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.conditions import Condition, ConditionRange
from tercet_cloud.planner.costs.cost_model import UNUSED_CODEC, CostModel
from tercet_cloud.planner.costs.topology import Topology
from tercet_cloud.planner.cuts.cut_graph import Assignment, CutGraph
from tercet_cloud.planner.cuts.linear_cost import Float64Array
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.searching.best_plans import Best, BestPlans, ModelOf
from tercet_cloud.planner.searching.search import MAX_MEASURED, MeasureAccuracy
from tercet_cloud.planner.table.plan_cover import nearest_cover, smallest_cover

SLACK = 0.05
# Plans from meets and joins that are looked at.
_MOST_VARIANTS = 400


@dataclass(frozen=True)
class TableCell:
    """One condition: the least value of any plan, which plan of the table to take, and how much worse that is.

    `plan` is an index, `gap` a part of `best`. Where no plan at all keeps the constraints, all three are None.
    """

    condition: Condition
    best: float | None
    plan: int | None
    gap: float | None


@dataclass(frozen=True)
class PlanTable:
    """A finished table.

    Attributes:
        plans: those of most use first; `accuracies` beside them, None where nothing is lost.
        blocks: tensors that cross at the cuts of all plans, in the order of the data: the boundaries to slice at,
            without the model's input and outputs.
        slack: what was aimed at; `worst_gap` is within it unless no plans that share blocks are.
        pool: plans that were the best somewhere.
        crossing_pairs: pairs of the pool whose cuts cross each other, so that they cannot share blocks.
        measured: accuracy measurements made; `stopped`: more were wanted than allowed, so that plans that lose
            something and were not measured are left out.
        given_up: codecs, alone or as pairs, that were too inaccurate wherever they were tried and are left out.
        solve_s: without measuring.
    """

    plans: tuple[Candidate, ...]
    accuracies: tuple[MeasuredAccuracy | None, ...]
    cells: tuple[TableCell, ...]
    blocks: tuple[tuple[str, ...], ...]
    slack: float
    worst_gap: float
    pool: tuple[Candidate, ...]
    crossing_pairs: int
    measured: int
    stopped: bool
    given_up: tuple[str, ...]
    solve_s: float


def make_plan_table(
    model_of: ModelOf,
    topology: Topology,
    conditions: ConditionRange,
    measure: MeasureAccuracy,
    *,
    slack: float = SLACK,
    max_measured: int = MAX_MEASURED,
) -> PlanTable:
    """The table for a range of conditions around a topology.

    Args:
        model_of: the cost model under a topology; asked once for every state of the links.
        measure: called at most `max_measured` times, never for plans that lose nothing.
    Raises:
        InfeasibleError: no plan keeps the constraints under any condition, or no plans that share blocks do.
    """
    started = time.perf_counter()
    plans = BestPlans(model_of, topology, conditions, measure, max_measured)
    plans.find()
    met = [condition for condition in plans.conditions if plans.best[condition] is not None]
    if not met:
        raise InfeasibleError(
            "no plan keeps the constraints under any condition of the range: `tercet plan` says for one topology "
            "which binds"
        )
    pool = list(dict.fromkeys(best[0] for condition in met if (best := plans.best[condition])))
    chosen, gaps = _choose(plans, met, pool, slack)
    used = np.bincount(gaps.argmin(axis=1), minlength=len(chosen))
    order = np.argsort(-used, kind="stable")
    in_order = tuple(chosen[place] for place in order)
    rows = dict(zip(met, gaps[:, order], strict=True))
    return PlanTable(
        plans=in_order,
        accuracies=tuple(plans.book.accuracy(plan) for plan in in_order),
        cells=tuple(_cell(condition, plans.best[condition], rows.get(condition)) for condition in plans.conditions),
        blocks=_blocks(plans.any_model.measurements.graph, in_order),
        slack=slack,
        worst_gap=float(gaps.min(axis=1).max()),
        pool=tuple(pool),
        crossing_pairs=len(_conflicts(pool)),
        measured=plans.book.measured,
        stopped=plans.stopped,
        given_up=tuple(sorted(" → ".join(titles) for titles in plans.book.given_up)),
        solve_s=time.perf_counter() - started - plans.measure_s,
    )


def plan_rows(table: PlanTable, model: CostModel) -> dict[str, PlanRow]:
    """The table's plans as `deployable.deploy_plans` takes them: p1, p2, …, priced under the model's topology."""
    rows = {}
    for number, (candidate, accuracy) in enumerate(zip(table.plans, table.accuracies, strict=True), 1):
        prediction = model.predict(candidate)
        broken = model.broken(prediction, candidate, model.topology.constraints)
        rows[f"p{number}"] = PlanRow(f"p{number}", candidate, prediction, model.value(prediction), accuracy, broken)
    return rows


def _choose(
    plans: BestPlans, met: Sequence[Condition], pool: list[Candidate], slack: float
) -> tuple[list[Candidate], Float64Array]:
    """Plans that share blocks, and (conditions, plans) their gaps."""
    gaps = _gaps(plans, met, pool)
    chosen = smallest_cover(gaps, _conflicts(pool), slack)
    wider = pool
    while chosen is None:
        wider = [plan for plan in dict.fromkeys([*pool, *_variants(plans, pool)]) if plans.may_be_used(plan)]
        gaps, conflicts = _gaps(plans, met, wider), _conflicts(wider)
        chosen = smallest_cover(gaps, conflicts, slack)
        if chosen is None:
            chosen, _ = nearest_cover(gaps, conflicts)
        plans.measure(wider[place] for place in chosen)
        if not all(plans.book.allows(wider[place]) for place in chosen):
            chosen = None
    return [wider[place] for place in chosen], gaps[:, chosen]


def _gaps(plans: BestPlans, met: Sequence[Condition], candidates: Sequence[Candidate]) -> Float64Array:
    """(conditions, candidates), infinite where a candidate breaks a constraint."""
    gaps = np.full((len(met), len(candidates)), np.inf)
    for row, condition in enumerate(met):
        best = plans.best[condition]
        for place, candidate in enumerate(candidates):
            value = plans.value(condition, candidate)
            if best is not None and value is not None:
                gaps[row, place] = _gap(value, best[1])
    return gaps


def _gap(value: float, best: float) -> float:
    if value <= best:
        return 0.0
    return value / best - 1 if best > 0 else np.inf


def _cell(condition: Condition, best: Best, gaps: Float64Array | None) -> TableCell:
    if best is None or gaps is None:
        return TableCell(condition, None, None, None)
    plan = int(gaps.argmin())
    return TableCell(condition, best[1], plan, float(gaps[plan]))


def _variants(plans: BestPlans, pool: Sequence[Candidate]) -> list[Candidate]:
    """The pool's plans with cuts that cross others' moved to where both meet, or to where they join."""
    model = plans.any_model
    cuts = list(dict.fromkeys(cut for plan in pool for cut in (plan.device, plan.until_cloud)))
    found: dict[Candidate, None] = {}
    for plan, cut in itertools.product(pool, cuts):
        first, second = plan.device, plan.until_cloud
        if not _are_nested([first, second, cut]):
            for device, until_cloud in (
                (first & cut, second & cut),
                (first | cut, second | cut),
                (first & cut, second),
                (first, second | cut),
            ):
                where = Assignment.of_cuts(model.measurements.graph, device, until_cloud)
                found[model.candidate_of(plan.codecs, where)] = None
    return list(found)[:_MOST_VARIANTS]


def _blocks(graph: CutGraph, plans: Iterable[Candidate]) -> tuple[tuple[str, ...], ...]:
    everything = frozenset(range(len(graph.operations)))
    cuts = {cut for plan in plans for cut in (plan.device, plan.until_cloud)} - {frozenset[int](), everything}
    return tuple(
        Candidate(cut, everything, (UNUSED_CODEC, UNUSED_CODEC)).crossing(graph, 0) for cut in sorted(cuts, key=len)
    )


def _conflicts(plans: Sequence[Candidate]) -> list[tuple[int, int]]:
    """Pairs of plans whose cuts cross each other."""
    return [
        (first, second)
        for first, second in itertools.combinations(range(len(plans)), 2)
        if not _are_nested(
            cut for place in (first, second) for cut in (plans[place].device, plans[place].until_cloud)
        )
    ]


def _are_nested(cuts: Iterable[frozenset[int]]) -> bool:
    return all(smaller <= larger for smaller, larger in itertools.pairwise(sorted(cuts, key=len)))
