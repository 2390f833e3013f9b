"""What a report shows around the chosen plan: latency by cut, the Pareto front, the map of conditions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.report.plan_report import CutPoint, PlanRow
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.views.condition_map import ConditionMap, condition_map, rich_pool
from tercet_cloud.planner.views.cut_curve import cut_curve
from tercet_cloud.planner.views.pareto import pareto_rows
from tercet_cloud.planner.views.plan_pool import PlanPool


@dataclass(frozen=True)
class PlanViews:
    """`pareto` and `map` hold only plans whose accuracy was measured or that lose none, as far as the constraint
    asks for accuracy. `curve` takes a codec that was accurate enough somewhere to be so at places nobody measured.
    """

    curve: tuple[CutPoint, ...]
    pareto: tuple[PlanRow, ...]
    map: ConditionMap


def plan_views(model: CostModel, memo: AccuracyMemo, considered: Iterable[Candidate]) -> PlanViews:
    """All views; within a second but for what the memo's budget lets it measure.

    Args:
        considered: what a search came by; its cuts are priced as well as those of the chain.
    """
    limits = model.topology.constraints

    def allowed(candidate: Candidate) -> bool:
        return memo.allows(candidate, limits)

    def presumed(candidate: Candidate) -> bool:
        return limits.max_accuracy_drop is None or memo.presumes(candidate, limits)

    pool = rich_pool(model, considered, allowed)
    pareto = pareto_rows(model, memo, pool, allowed)
    drawn = condition_map(model, memo, pool, allowed)
    curve = cut_curve(model, PlanPool(model, pool.cuts), presumed)
    return PlanViews(curve, pareto, drawn)
