"""From a model and a topology to a finished report: measure what is missing, search, look around.

What `tercet plan`, the demo and benches have in common; writing and printing are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.measurement.sample_frames import FrameSource, sample_frames
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.conditions import ConditionRange
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Topology
from tercet_cloud.planner.measuring.accuracy import AccuracyMeter, Way
from tercet_cloud.planner.measuring.coding_table import CodingTable
from tercet_cloud.planner.measuring.gathering import (
    PlannedModel,
    TierProfile,
    gather_coding,
    gather_profiles,
    join_measurements,
)
from tercet_cloud.planner.measuring.measurement_cache import FOLDER, MeasurementCache
from tercet_cloud.planner.progress_bars import ProgressBars
from tercet_cloud.planner.report.assembling import CHOSEN, Surroundings, assemble_report
from tercet_cloud.planner.report.circumstances import describe_circumstances
from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import SearchResult, search_plan
from tercet_cloud.planner.table.plan_table import PlanTable, make_plan_table, plan_rows
from tercet_cloud.planner.views.baselines import baseline_rows
from tercet_cloud.planner.views.plan_views import plan_views

# Accuracy measurements for curve, front and map; what is beyond them is left out there.
_FURTHER_MEASURED = 24


@dataclass(frozen=True)
class PlanRequest:
    """What to plan.

    Attributes:
        folder: what file names in the topology are relative to.
        profiles: files that go before the topology's.
        frames: what to measure bytes and accuracy on.
        measure_again: use nothing that was kept from before.
        pictures: curve, front and map as well; they take some more accuracy measurements.
        conditions: a plan table for these as well; None for none.
    """

    topology: Topology
    folder: Path = Path()
    profiles: Mapping[Tier, Path] = field(default_factory=dict)
    frames: FrameSource = field(default_factory=FrameSource)
    measure_again: bool = False
    pictures: bool = False
    conditions: ConditionRange | None = None


@dataclass(frozen=True)
class Planned:
    """The report, and what it was made from; the plan table, if asked for; accuracies that were measured."""

    model: PlannedModel
    cost: CostModel
    result: SearchResult
    report: PlanReport
    table: PlanTable | None = None
    accuracies: Mapping[Way, MeasuredAccuracy] = field(default_factory=dict)

    @property
    def coding(self) -> CodingTable:
        return self.cost.measurements.coding

    def table_rows(self) -> dict[str, PlanRow]:
        """The plans of the table by id, priced under the topology; the chosen plan goes by its own name."""
        if self.table is None:
            return {}
        rows = plan_rows(self.table, self.cost)
        return {
            CHOSEN if row.candidate == self.report.chosen.candidate else name: row for name, row in rows.items()
        }

    def deployed_rows(self) -> dict[str, PlanRow]:
        """What to deploy: the chosen plan first, unless its cuts cross those of the table's plans."""
        rows = self.table_rows()
        with_chosen = {CHOSEN: self.report.chosen} | rows
        cuts = {cut for row in with_chosen.values() for cut in (row.candidate.device, row.candidate.until_cloud)}
        nested = all(one <= other or other <= one for one, other in combinations(cuts, 2))
        return with_chosen if nested else rows


def plan_model(store: Store, card: ModelCard, request: PlanRequest, bars: ProgressBars) -> Planned:
    """The best plan of one model; blocks while it measures.

    Raises:
        InfeasibleError: no plan keeps the constraints.
        SpecError, NotFoundError, InputError: files or options that do not fit the model, or one that cannot run.
    """
    graph = OnnxGraph(store.model_bytes(card))
    model = PlannedModel(store, card, graph, sample_frames(card, graph, request.frames))
    cache = MeasurementCache(store.root / FOLDER, refresh=request.measure_again)
    profiles = gather_profiles(model, request.topology, request.folder, request.profiles, cache, bars.begin)
    coding = gather_coding(model, cache, bars.begin)
    cost = CostModel(join_measurements(model, profiles, coding), request.topology)
    with AccuracyMeter(
        store,
        card,
        model.samples.evaluation,
        coding,
        graph=graph,
        cache=cache,
        progress=bars.repeat("accuracy of plans"),
    ) as meter:
        result = search_plan(cost, meter.measure)
        report = _report(model, cost, profiles, result, meter, pictures=request.pictures)
        table = None
        if request.conditions is not None:
            table = make_plan_table(cost.under, request.topology, request.conditions, meter.measure)
    return Planned(model, cost, result, report, table, meter.known)


def _report(
    model: PlannedModel,
    cost: CostModel,
    profiles: Mapping[Tier, TierProfile],
    result: SearchResult,
    meter: AccuracyMeter,
    *,
    pictures: bool,
) -> PlanReport:
    memo = AccuracyMemo(cost, meter.measure, budget=_FURTHER_MEASURED, known=(result.chosen, *result.considered))
    everything = frozenset(range(len(model.graph.operations)))
    circumstances = describe_circumstances(
        cost.topology,
        profiles,
        cost.measurements.coding,
        model.samples,
        result,
        counted=model.card.task == "classification",
    )
    return assemble_report(
        cost,
        model.graph,
        profiles,
        result,
        _surroundings(cost, memo, result, pictures=pictures),
        circumstances,
        memo,
        meter.measure(Candidate(everything, everything, ("raw", "raw"))),
    )


def _surroundings(cost: CostModel, memo: AccuracyMemo, result: SearchResult, *, pictures: bool) -> Surroundings:
    """What else could have been had, under these conditions and others."""
    baselines = baseline_rows(cost, memo)
    if not pictures:
        return Surroundings(baselines)
    candidates = [item.candidate for item in (result.chosen, *result.considered)]
    views = plan_views(cost, memo, [*candidates, *(row.candidate for row in baselines)])
    return Surroundings(baselines, views.curve, views.pareto, views.map.plans, views.map.cells)
