"""The demo's plans: the planner's best, the same network over three tiers with plain codecs, and what one might do
without a planner."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet_cloud.demo.setting import demo_topology
from tercet_cloud.measurement.sample_frames import FrameSource, sample_frames
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.measuring.accuracy import AccuracyMeter
from tercet_cloud.planner.measuring.coding_measurement import coding_table
from tercet_cloud.planner.measuring.gathering import PlannedModel, Steps, gather_profiles, join_measurements
from tercet_cloud.planner.measuring.measurement_cache import FOLDER, MeasurementCache
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import search_plan
from tercet_cloud.planner.views.baselines import plan_row
from tercet_cloud.stack.fixed_plans import fixed_plans

PLANNED, ALL_DEVICE, ALL_CLOUD = "planned", "all-device", "all-cloud-jpeg"
# Plans over the same cuts, on all three tiers; each codec on both links.
CODECS = ("raw", "fp16", "int8")
_PHOTO_CODEC = "jpeg:95"
# Of those that need no calibration; `tercet plan` has more.
_MENU = (*CODECS, "int8+zstd", "int4+zstd:3", _PHOTO_CODEC)
_EVALUATION_FRAMES = 64
_PROFILE_S = 5.0
_LEAST_SHARE = 0.1


@dataclass(frozen=True)
class DemoPlans:
    """`rows` are in the deployment's order, named as its plans; `solve_ms` is what finding the best one took.

    `adaptive` has the same plans with their predictions, so that a device may choose among them.
    """

    deployment: Deployment
    adaptive: Deployment
    rows: tuple[PlanRow, ...]
    routes: dict[str, str]
    solve_ms: float


def plan_demo(store: Store, card: ModelCard, steps: Steps) -> DemoPlans:
    """Measure what is not in the store yet, and plan; blocks for some seconds."""
    graph = OnnxGraph(store.model_bytes(card))
    samples = sample_frames(card, graph, FrameSource(evaluation_frames=_EVALUATION_FRAMES))
    model = PlannedModel(store, card, graph, samples)
    cache = MeasurementCache(store.root / FOLDER)
    topology = demo_topology()
    profiles = gather_profiles(model, topology, Path(), {}, cache, steps, seconds=_PROFILE_S)
    tell = steps("codecs × tensors")
    coding = coding_table(
        store, card, graph, samples, _MENU, progress=lambda done, total: tell(done / total), cache=cache
    )
    tell(1.0)
    costs = CostModel(join_measurements(model, profiles, coding), topology)
    with AccuracyMeter(store, card, samples.evaluation, coding, graph=graph, cache=cache) as meter:
        found = search_plan(costs, meter.measure, runner_up=False)
        memo = AccuracyMemo(costs, meter.measure, known=(found.chosen, *found.considered))
        rows = tuple(
            plan_row(costs, memo, name, candidate)
            for name, candidate in _candidates(costs, found.chosen.candidate).items()
        )
    deployment = deploy_plans(store, card, graph, coding, {row.name: row for row in rows})
    routes = {row.name: route_text(row.candidate, costs.measurements.graph) for row in rows}
    return DemoPlans(fixed_plans(deployment), deployment, rows, routes, found.solve_ms)


def _candidates(costs: CostModel, planned: Candidate) -> dict[str, Candidate]:
    everything = frozenset(range(len(costs.measurements.graph.operations)))
    device, until_cloud = three_tier_cuts(costs)
    return {
        PLANNED: planned,
        **{codec: Candidate(device, until_cloud, (codec, codec)) for codec in CODECS},
        ALL_DEVICE: Candidate(everything, everything, ("raw", "raw")),
        ALL_CLOUD: Candidate(frozenset(), frozenset(), (_PHOTO_CODEC, _PHOTO_CODEC)),
    }


def three_tier_cuts(costs: CostModel) -> tuple[frozenset[int], frozenset[int]]:
    """The quickest two cuts, at single tensors and coded as int8, that give every tier a tenth of the compute."""
    op_ms = costs.measurements.op_ms[0]
    shares = {
        before: float(op_ms[list(before)].sum() / op_ms.sum()) for before in chain_cuts(costs.measurements.graph)
    }
    candidates = [
        Candidate(device, until_cloud, ("int8", "int8"))
        for device, until_cloud in combinations(shares, 2)
        if min(shares[device], shares[until_cloud] - shares[device], 1 - shares[until_cloud]) >= _LEAST_SHARE
    ]
    best = min(candidates, key=lambda candidate: costs.predict(candidate).latency_ms)
    return best.device, best.until_cloud
