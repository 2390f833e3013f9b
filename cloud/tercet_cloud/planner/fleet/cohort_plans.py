"""A fleet planned: pools, a choice among them, accuracy measured of what was chosen; again until all keep it."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.costs.cost_model import CostModel, ModelMeasurements
from tercet_cloud.planner.costs.frame_costs import MEGA
from tercet_cloud.planner.costs.topology import Topology
from tercet_cloud.planner.fleet.accuracy_limits import AccuracyLimits
from tercet_cloud.planner.fleet.fleet_plan import DEFAULT_GAP, FleetChoice, plan_fleet
from tercet_cloud.planner.fleet.fleet_problem import IndexArray, Resource
from tercet_cloud.planner.fleet.options import CLOUD, FleetOptions, fleet_options
from tercet_cloud.planner.fleet.plan_pool import Cut, PlanPool, make_pool, worthwhile_cuts
from tercet_cloud.planner.fleet.pricing import compute_money, edge_activations_mb
from tercet_cloud.planner.fleet.setting import FleetSetting
from tercet_cloud.planner.fleet.shadow_prices import Purchase, Step, buy_next
from tercet_cloud.planner.searching.search import Coding, MeasureAccuracy

MOST_MEASURED = 64
SHOWN_PURCHASES = 5
# After so many, plans that were not measured are left out.
_MOST_ROUNDS = 16


@dataclass(frozen=True)
class Part:
    """Devices of one cohort that have one plan on one edge; cohort and edge by index.

    `value` and `money` are of one frame; money includes the time of edge's and cloud's cores. `accuracy` is None
    for a plan that loses nothing.
    """

    cohort: int
    edge: int
    devices: int
    candidate: Candidate
    prediction: Prediction
    value: float
    money: float
    accuracy: MeasuredAccuracy | None


@dataclass(frozen=True)
class FleetPlan:
    """A plan for every cohort.

    Attributes:
        parts: in the order of cohorts, each one's largest part first.
        resources: what is shared and how much of it is used: (resource, used), in the problem's order.
        pooled: plans that were chosen from, by model.
        measured: accuracy measurements made; `stopped`: there were to be no more, so that plans that were not
            measured were left out.
        rounds: how often the fleet was planned until all accuracies were known.
        planning_ms: all but measuring.
    """

    setting: FleetSetting
    measurements: tuple[ModelMeasurements, ...]
    parts: tuple[Part, ...]
    choice: FleetChoice
    resources: tuple[tuple[Resource, float], ...]
    purchases: tuple[Purchase, ...]
    pooled: dict[str, int]
    measured: int
    stopped: bool
    rounds: int
    planning_ms: float


def plan_cohorts(
    setting: FleetSetting,
    measurements: Sequence[ModelMeasurements],
    measures: Mapping[str, MeasureAccuracy],
    *,
    gap: float = DEFAULT_GAP,
    limit_s: float = 10.0,
    most_measured: int = MOST_MEASURED,
) -> FleetPlan:
    """The best plan for each cohort that the shared limits and all constraints leave.

    Args:
        measurements: by cohort; cohorts whose devices have the same profile share one.
        measures: by model, called at most `most_measured` times each.
        gap, limit_s: as of `plan_fleet`.
    Raises:
        InfeasibleError: a cohort has no plan, or what is shared falls short.
    """
    return _Planning(setting, tuple(measurements), measures, most_measured).run(gap, limit_s)


class _Planning:
    def __init__(
        self,
        setting: FleetSetting,
        measurements: tuple[ModelMeasurements, ...],
        measures: Mapping[str, MeasureAccuracy],
        most_measured: int,
    ) -> None:
        self._setting, self._measurements = setting, measurements
        self._accuracies = {
            cohort.model: AccuracyLimits(measures[cohort.model], most_measured, len(item.graph.operations))
            for cohort, item in zip(setting.cohorts, measurements, strict=True)
        }
        # Cohorts by the measurements that they share.
        self._sharing: dict[int, list[int]] = {}
        for index, item in enumerate(measurements):
            self._sharing.setdefault(id(item), []).append(index)

    def run(self, gap: float, limit_s: float) -> FleetPlan:
        setting, rounds, measuring_s, started = self._setting, 0, 0.0, time.perf_counter()
        cuts = {key: self._cuts(cohorts) for key, cohorts in self._sharing.items()}
        while True:
            rounds += 1
            pools = self._pools(cuts)
            options = fleet_options(setting, pools, self._allows)
            choice = plan_fleet(options.problem, divide=setting.fleet.divide_cohorts, gap=gap, limit_s=limit_s)
            before = time.perf_counter()
            kept = self._keep_accuracy(pools, options, choice.options)
            measuring_s += time.perf_counter() - before
            if not kept:
                continue
            purchases = buy_next(choice, self._step_of, top=SHOWN_PURCHASES)
            # What prices and purchases rest on has to be accurate as well.
            used = [choice.settled.original[choice.settled.relaxation.used], *(item.options for item in purchases)]
            before = time.perf_counter()
            kept = self._keep_accuracy(pools, options, np.unique(np.concatenate(used)))
            measuring_s += time.perf_counter() - before
            if kept:
                break
            if rounds >= _MOST_ROUNDS:
                for accuracy in self._accuracies.values():
                    accuracy.close()
        return FleetPlan(
            setting=setting,
            measurements=self._measurements,
            parts=self._parts(pools, options, choice),
            choice=choice,
            resources=tuple(zip(options.problem.resources, choice.load.tolist(), strict=True)),
            purchases=purchases,
            pooled={
                cohort.model: len(pool.candidates) for cohort, pool in zip(setting.cohorts, pools, strict=True)
            },
            measured=sum(item.measured for item in self._accuracies.values()),
            stopped=any(item.spent for item in self._accuracies.values()),
            rounds=rounds,
            planning_ms=(time.perf_counter() - started - measuring_s) * 1e3,
        )

    def _cuts(self, cohorts: Sequence[int]) -> tuple[Cut, ...]:
        measurements = self._measurements[cohorts[0]]
        edges = {edge for index in cohorts for edge in self._setting.edges_of[index]}
        whole_mb = float(measurements.weights_bytes.sum()) / MEGA
        short = any(
            whole_mb + edge_activations_mb(measurements, spec) > (spec.memory_mb or math.inf)
            for spec in map(self._setting.fleet.edges.__getitem__, edges)
        )
        return worthwhile_cuts(measurements, self._representatives(cohorts), memory_short=short)

    def _representatives(self, cohorts: Sequence[int]) -> list[Topology]:
        """The slowest, middle and fastest links; for deadlines by latency as well, if that is not the objective."""
        setting = self._setting
        order = sorted(cohorts, key=lambda index: setting.cohorts[index].link.up_mbps)
        chosen = dict.fromkeys((order[0], order[len(order) // 2], order[-1]))
        found = [
            setting.cohorts[index].on_edge(setting.fleet.edges[setting.edges_of[index][0]]) for index in chosen
        ]
        if setting.objective != "latency":
            found += [topology.model_copy(update={"objective": "latency"}) for topology in found]
        return found

    def _pools(self, cuts: Mapping[int, Sequence[Cut]]) -> list[PlanPool]:
        """By cohort."""
        pools = {}
        for key, cohorts in self._sharing.items():
            accuracy = self._accuracies[self._setting.cohorts[cohorts[0]].model]
            drops = {self._setting.cohorts[index].constraints.max_accuracy_drop for index in cohorts}

            pools[key] = make_pool(
                self._measurements[cohorts[0]],
                cuts[key],
                some_may=partial(_some_may, accuracy, drops),
                all_may=partial(_all_may, accuracy, drops),
            )
        return [pools[id(item)] for item in self._measurements]

    def _allows(self, cohort: int, codings: tuple[Coding, ...]) -> bool:
        found = self._setting.cohorts[cohort]
        return self._accuracies[found.model].allows(codings, found.constraints.max_accuracy_drop)

    def _keep_accuracy(self, pools: Sequence[PlanPool], options: FleetOptions, used: IndexArray) -> bool:
        """Whether all these options keep their cohorts' accuracy; all are measured, also after one does not."""
        kept = True
        for option in used:
            index = int(options.problem.cohort_of[option])
            cohort, pool, plan = self._setting.cohorts[index], pools[index], options.plan_of[option]
            drop = cohort.constraints.max_accuracy_drop
            kept &= self._accuracies[cohort.model].measure(pool.candidates[plan], pool.codings[plan], drop)
        return kept

    def _parts(self, pools: Sequence[PlanPool], options: FleetOptions, choice: FleetChoice) -> tuple[Part, ...]:
        parts = []
        for option, devices in zip(choice.options, choice.devices, strict=True):
            index, edge = int(options.problem.cohort_of[option]), int(options.edge_of[option])
            cohort, pool, plan = self._setting.cohorts[index], pools[index], options.plan_of[option]
            spec = self._setting.fleet.edges[edge]
            model = CostModel(self._measurements[index], cohort.on_edge(spec))
            prediction = model.predict(pool.candidates[plan])
            busy = compute_money(
                np.array(prediction.edge_ms), np.array(prediction.cloud_ms), spec, self._setting.fleet
            )
            parts.append(
                Part(
                    cohort=index,
                    edge=edge,
                    devices=int(devices),
                    candidate=pool.candidates[plan],
                    prediction=prediction,
                    value=float(options.problem.value[option]) / cohort.spec.frames_per_second,
                    money=prediction.cost + float(busy),
                    accuracy=self._accuracies[cohort.model].of(pool.codings[plan]),
                )
            )
        return tuple(sorted(parts, key=lambda part: (part.cohort, -part.devices)))

    def _step_of(self, resource: Resource) -> Step:
        upgrades = self._setting.fleet.upgrades
        bought = {
            "cores": upgrades.cloud_cores if resource.owner == CLOUD else upgrades.edge_cores,
            "uplink": upgrades.uplink_mbps,
            "downlink": upgrades.downlink_mbps,
            "memory": upgrades.edge_memory_mb,
        }[resource.kind]
        return Step(bought.step, bought.price)


def _some_may(accuracy: AccuracyLimits, drops: Collection[float | None], codings: tuple[Coding, ...]) -> bool:
    return any(accuracy.allows(codings, drop) for drop in drops)


def _all_may(accuracy: AccuracyLimits, drops: Collection[float | None], codings: tuple[Coding, ...]) -> bool:
    return all(accuracy.allows(codings, drop) for drop in drops)
