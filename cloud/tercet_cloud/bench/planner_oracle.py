"""The planner held against measurement: its choice and all that might be better, really run on the emulated stack.

For each network everything is planned first, then one stack serves all plans while its links change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tercet.documents import write_document
from tercet.frame_record import FrameRecord
from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet_cloud.bench.oracle_conditions import (
    CALIBRATION,
    CONDITIONS,
    QUICK,
    LinkPair,
    Slowdowns,
    StackFigures,
    topology_of,
)
from tercet_cloud.bench.oracle_groups import PlanGroup, group_plans
from tercet_cloud.bench.oracle_pool import CHOSEN, PoolPlan, grid_cuts, plan_pool
from tercet_cloud.bench.oracle_table import ConditionResult, MeasuredPlan, condition_rows, summarise_oracle
from tercet_cloud.bench.quiet_machine import MachineProbe, Observed
from tercet_cloud.bench.stack_calibration import calibrate_stack
from tercet_cloud.bench.text_cells import NAME as TEXT_CELLS
from tercet_cloud.bench.text_cells import fetch_text_cells, write_text_photos
from tercet_cloud.measurement.sample_frames import FrameSource, sample_frames
from tercet_cloud.measurement.sample_photos import write_crops
from tercet_cloud.models.catalog import fetch_model
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.measuring.accuracy import AccuracyMeter
from tercet_cloud.planner.measuring.gathering import PlannedModel, gather_coding, gather_profiles, join_measurements
from tercet_cloud.planner.measuring.measurement_cache import FOLDER, MeasurementCache
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import search_plan
from tercet_cloud.planner.views.joint_gain import joint_gains, mean_ratios
from tercet_cloud.stack.fixed_plans import fixed_plans
from tercet_cloud.stack.local_stack import DEVICE_EDGE, EDGE_CLOUD, Emulation, local_stack
from tercet_cloud.stack.plan_meter import WARM_UP_FRAMES, PlanMeter, PlanRun

FRAMES, BRIEF_FRAMES = 7, 3
# A plan that is predicted to take so many times as long as the chosen one is only looked at briefly.
CONTENDING = 1.6
# Accuracy measurements that the pools of one network may take beside those of search and baselines.
_ACCURACY_BUDGET = 24
_EVALUATION_FRAMES = 80
_TEXT_PHOTOS = 64
# Held against an upper bound, which 80 frames without a disagreement put at 3.7 %.
_CONSTRAINTS = Constraints(max_accuracy_drop=0.1)

# Published for choosing both together: 218 to 97 ms, and 450 to 890 frames per second.
JOINT_MARK = {"latency_ratio": round(218 / 97, 2), "throughput_ratio": round(890 / 450, 2)}

Say = Callable[[str], None]


@dataclass(frozen=True)
class OracleOptions:
    """How much to measure."""

    quick: bool
    store: Path
    out: Path
    slowdowns: Slowdowns

    @property
    def conditions(self) -> tuple[LinkPair, ...]:
        return QUICK if self.quick else CONDITIONS

    @property
    def networks(self) -> tuple[str, ...]:
        everything = ("efficientnet-lite0", "efficientnet-lite2", TEXT_CELLS)
        return everything[:1] if self.quick else everything


@dataclass(frozen=True)
class PlannedNetwork:
    """A network with its pools, one a condition."""

    model: PlannedModel
    costs: CostModel
    photos: Path
    pools: tuple[tuple[PoolPlan, ...], ...]


async def bench_oracle(options: OracleOptions, say: Say) -> dict[str, object]:
    """Measure everything; returns the summary, the conditions and what they rest on.

    Raises:
        MissingExtraError: the text network is not installed (only without `quick`).
    """
    store = Store(options.store.resolve())
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    results: list[ConditionResult] = []
    stacks: dict[str, object] = {}
    joint: dict[str, object] = {}
    for name in options.networks:
        say(f"{name}: profile and coding table")
        model, photos = await asyncio.to_thread(_open_network, store, name, out)
        probe = await asyncio.to_thread(_probe, model)
        measured = await probe.when_quiet(partial(asyncio.to_thread, _cost_model, model, options.slowdowns))
        costs = measured.result
        say(f"{name}: calibration, {CALIBRATION}")
        calibrated = await probe.when_quiet(
            partial(_calibrate, model, costs, options.slowdowns, photos, out / name)
        )
        figures = calibrated.result
        stacks[name] = {
            **asdict(figures),
            "machine_slowness": {
                "profile": round(measured.slowness, 3),
                "calibration": round(calibrated.slowness, 3),
            },
        }
        say(f"{name}: plans for {len(options.conditions)} conditions")
        pools, joint[name] = await asyncio.to_thread(_plan_all, model, costs, options, figures)
        planned = PlannedNetwork(model, costs, photos, pools)
        results.extend(await _measure_network(planned, options, probe, out / name, say))
    return {
        **summarise_oracle(results),
        "by_network": {
            name: summarise_oracle([result for result in results if result.network == name])
            for name in options.networks
        },
        "emulation": emulation_note(options.slowdowns),
        "calibration": {"measured_under": str(CALIBRATION), **stacks},
        "joint": joint,
        "results": condition_rows(results),
    }


def emulation_note(slowdowns: Slowdowns) -> str:
    """What is not what it seems, for whoever reads the figures."""
    return (
        f"Emulated on one machine: device {slowdowns.device:g}× and edge {slowdowns.edge:g}× slower, by sleeping; "
        "both links by a relay."
    )


def _open_network(store: Store, name: str, out: Path) -> tuple[PlannedModel, Path]:
    """The network with frames to plan on, and a folder of other photos to send."""
    photos = out / name / "photos"
    count = FRAMES + WARM_UP_FRAMES
    if name == TEXT_CELLS:
        card = fetch_text_cells(store)
        write_text_photos(out / name / "planning", _TEXT_PHOTOS, seed=1)
        write_text_photos(photos, count, seed=2)
        source = FrameSource(photos=out / name / "planning", evaluation_frames=_TEXT_PHOTOS)
    else:
        card = fetch_model(store, name)
        write_crops(count, [photos])
        source = FrameSource(evaluation_frames=_EVALUATION_FRAMES)
    graph = OnnxGraph(store.model_bytes(card))
    return PlannedModel(store, card, graph, sample_frames(card, graph, source)), photos


def _cost_model(model: PlannedModel, slowdowns: Slowdowns) -> CostModel:
    # Times are always measured anew: the machine may be slower or faster than it was.
    cache = MeasurementCache(model.store.root / FOLDER, refresh=True)
    nominal = StackFigures(slowdowns.device, slowdowns.edge, 1, 0, 0)
    topology = topology_of(CALIBRATION, nominal, _CONSTRAINTS)
    profiles = gather_profiles(model, topology, Path(), {}, cache, _no_steps)
    return CostModel(join_measurements(model, profiles, gather_coding(model, cache, _no_steps)), topology)


def _probe(model: PlannedModel) -> MachineProbe:
    whole = WholeModel(model.store.model_bytes(model.card))
    return MachineProbe(lambda: whole.run(model.samples.evaluation.frames[0]))


def _no_steps(title: str) -> Callable[[float], None]:
    return lambda share: None


async def _calibrate(
    model: PlannedModel, costs: CostModel, slowdowns: Slowdowns, photos: Path, folder: Path
) -> StackFigures:
    """Cut after about a third and two thirds of the compute."""
    cuts = grid_cuts(costs)
    places = (cuts[len(cuts) // 3], cuts[2 * len(cuts) // 3])
    return await calibrate_stack(model.store, model.card, model.graph, costs, places, slowdowns, photos, folder)


def _plan_all(
    model: PlannedModel, costs: CostModel, options: OracleOptions, figures: StackFigures
) -> tuple[tuple[tuple[PoolPlan, ...], ...], dict[str, object]]:
    """The pool of each condition, and what choosing cut and codec together gains under all of them."""
    coding = costs.measurements.coding
    cache = MeasurementCache(model.store.root / FOLDER)
    pools = []
    with AccuracyMeter(
        model.store, model.card, model.samples.evaluation, coding, graph=model.graph, cache=cache
    ) as meter:
        memo = AccuracyMemo(costs, meter.measure, budget=_ACCURACY_BUDGET)
        topologies = [topology_of(links, figures, _CONSTRAINTS) for links in options.conditions]
        for topology in topologies:
            here = costs.under(topology)
            pools.append(plan_pool(here, memo, search_plan(here, memo)))
        latency_ratio, throughput_ratio = mean_ratios(joint_gains(costs, memo, topologies))
    joint = {
        "latency_ratio": round(latency_ratio, 3),
        "throughput_ratio": round(throughput_ratio, 3),
        "mark": JOINT_MARK,
    }
    return tuple(pools), joint


async def _measure_network(
    planned: PlannedNetwork, options: OracleOptions, probe: MachineProbe, folder: Path, say: Say
) -> list[ConditionResult]:
    deployed = await asyncio.to_thread(_deploy, planned, folder)
    first, *others = [path for path, _ in deployed]
    links = options.conditions[0]
    emulation = Emulation(links.device_edge, links.edge_cloud, options.slowdowns.device, options.slowdowns.edge)
    results = []
    async with local_stack(folder / "logs", planned.model.store.root, first, emulation, others=others) as stack:
        meter = PlanMeter(stack, planned.photos, folder)
        for links, pool in zip(options.conditions, planned.pools, strict=True):
            await stack.links.change(DEVICE_EDGE, links.device_edge)
            await stack.links.change(EDGE_CLOUD, links.edge_cloud)
            observed = await probe.when_quiet(partial(_measure_pool, meter, list(_runs(pool, deployed))))
            results.append(_result(planned, links, pool, deployed, observed))
            say(f"{planned.model.card.name}, {links}: {_verdict(results[-1])}")
    return results


async def _measure_pool(meter: PlanMeter, runs: Sequence[PlanRun]) -> Mapping[str, Sequence[FrameRecord]]:
    records: dict[str, Sequence[FrameRecord]] = {}
    for run in runs:
        records |= await meter.measure(run)
    return records


Deployed = list[tuple[Path, dict[Candidate, str]]]


def _deploy(planned: PlannedNetwork, folder: Path) -> Deployed:
    """A deployment for each group of plans, and what each candidate is called in it."""
    graph = planned.model.graph
    rows = {plan.candidate: plan for pool in planned.pools for plan in pool}
    groups: Sequence[PlanGroup] = group_plans(
        [[plan.candidate for plan in pool] for pool in planned.pools], len(graph.operations)
    )
    deployed: Deployed = []
    for number, group in enumerate(groups):
        names = {candidate: f"p{number}-{index}" for index, candidate in enumerate(group.candidates)}
        plans = {
            name: PlanRow(name, candidate, rows[candidate].prediction, 0.0, None)
            for candidate, name in names.items()
        }
        deployment = deploy_plans(
            planned.model.store, planned.model.card, graph, planned.costs.measurements.coding, plans
        )
        path = folder / f"deployment-{number}.yaml"
        write_document(fixed_plans(deployment), path)
        deployed.append((path, names))
    return deployed


def _runs(pool: Sequence[PoolPlan], deployed: Deployed) -> Iterable[PlanRun]:
    """Contenders often enough for a median, the others briefly."""
    chosen_ms = next(plan.prediction.latency_ms for plan in pool if CHOSEN in plan.roles)
    for path, names in deployed:
        for often in (True, False):
            plans = [plan for plan in pool if plan.candidate in names and _contends(plan, chosen_ms) is often]
            if plans:
                yield PlanRun(
                    path,
                    tuple(names[plan.candidate] for plan in plans),
                    FRAMES if often else BRIEF_FRAMES,
                    max(plan.prediction.latency_ms for plan in plans),
                )


def _contends(plan: PoolPlan, chosen_ms: float) -> bool:
    return plan.is_baseline or plan.prediction.latency_ms <= CONTENDING * chosen_ms


def _result(
    planned: PlannedNetwork,
    links: LinkPair,
    pool: Sequence[PoolPlan],
    deployed: Deployed,
    observed: Observed[Mapping[str, Sequence[FrameRecord]]],
) -> ConditionResult:
    names = {candidate: name for _, named in deployed for candidate, name in named.items()}
    graph = planned.costs.measurements.graph
    plans = []
    for plan in pool:
        latencies_ms = [record.latency_ms for record in observed.result[names[plan.candidate]]]
        middle, upper = np.percentile(latencies_ms, [50, 75])
        plans.append(
            MeasuredPlan(
                route=route_text(plan.candidate, graph),
                roles=plan.roles,
                predicted_ms=round(plan.prediction.latency_ms, 3),
                measured_ms=round(float(middle), 3),
                upper_quartile_ms=round(float(upper), 3),
                frames=len(latencies_ms),
                contender=plan.broken is None and len(latencies_ms) >= FRAMES,
            )
        )
    return ConditionResult(planned.model.card.name, str(links), tuple(plans), round(observed.slowness, 3))


def _verdict(result: ConditionResult) -> str:
    chosen, best = result.chosen, result.best
    return (
        f"chosen {chosen.measured_ms:.1f} ms (predicted {chosen.predicted_ms:.1f}), best of {len(result.plans)} "
        f"{best.measured_ms:.1f} ms, {result.regret:.3f}; machine × {result.machine_slowness:.2f}"
    )
