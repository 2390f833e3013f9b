"""Figures of whole pools against `CostModel`, plan by plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import downsets
from support.planner_cases import random_graph, random_measurements
from support.small_fleets import NO_LIMITS, setting_of, small_fleet
from tercet.errors import InfeasibleError
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, Objective, Weights
from tercet_cloud.planner.fleet.fleet_file import Fleet
from tercet_cloud.planner.fleet.options import fleet_options
from tercet_cloud.planner.fleet.plan_pool import PlanPool, make_pool
from tercet_cloud.planner.fleet.pricing import frame_figures, own_limits

EVERYTHING = Weights(latency_ms=1, energy_mj=0.1, device_edge_kb=0.2, edge_cloud_kb=0.3, cost=1e3)
OBJECTIVES: list[Objective] = ["latency", "energy", "bytes", EVERYTHING]


def pool_for(seed: int) -> PlanPool:
    random = np.random.default_rng(seed)
    measurements = random_measurements(random, random_graph(random, 4))
    cuts = downsets(measurements.graph)
    assert cuts is not None
    return make_pool(measurements, cuts, some_may=lambda codings: True, all_may=lambda codings: True)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(OBJECTIVES))
def test_figures_of_a_pool_are_those_of_the_cost_model(seed: int, objective: Objective) -> None:
    setting = setting_of(small_fleet(seed, objective=objective))
    pool = pool_for(seed)
    cohort, edge, fleet = setting.cohorts[0], setting.fleet.edges[-1], setting.fleet
    model = CostModel(pool.measurements, cohort.on_edge(edge))
    frame = frame_figures(pool, cohort, edge, fleet, model.weights)
    for index, candidate in enumerate(pool.candidates):
        found = model.predict(candidate)
        hours = (
            found.edge_ms * edge.price_per_core_hour + found.cloud_ms * fleet.cloud.price_per_core_hour
        ) / 3.6e6
        assert frame.device_ms[index] == pytest.approx(found.device_ms)
        assert frame.edge_ms[index] == pytest.approx(found.edge_ms)
        assert frame.cloud_ms[index] == pytest.approx(found.cloud_ms)
        assert frame.latency_ms[index] == pytest.approx(found.latency_ms)
        assert frame.energy_mj[index] == pytest.approx(found.device_energy_mj)
        assert frame.money[index] == pytest.approx(found.cost + hours)
        assert frame.value[index] == pytest.approx(model.value(found) + model.weights.cost * hours)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.floats(20, 400), st.floats(30, 120), st.floats(10, 600))
def test_what_keeps_the_limits_of_a_device_is_what_the_cost_model_allows(
    seed: int, private: bool, deadline_ms: float, memory_mb: float, energy_mj: float
) -> None:
    limits = Constraints(
        deadline_ms=deadline_ms,
        max_device_memory_mb=memory_mb,
        max_device_energy_mj=energy_mj,
        private_input=private,
        max_accuracy_drop=None,
    )
    setting = setting_of(small_fleet(seed, constraints=limits))
    pool = pool_for(seed)
    cohort, edge = setting.cohorts[0], setting.fleet.edges[0]
    # So slow that no rate is too high for a device or its link.
    cohort = replace(cohort, spec=cohort.spec.model_copy(update={"frames_per_second": 1e-3}))
    model = CostModel(pool.measurements, cohort.on_edge(edge))
    frame = frame_figures(pool, cohort, edge, setting.fleet, model.weights)
    kept = np.logical_and.reduce([limit.kept for limit in own_limits(cohort, pool, frame, edge, 0.7)])
    for index, candidate in enumerate(pool.candidates):
        broken = model.broken(model.predict(candidate), candidate, limits)
        assert kept[index] == (broken is None), broken


def test_a_device_that_cannot_keep_up_with_its_rate_is_named() -> None:
    fleet = small_fleet(3, cohorts=1)
    cohort = fleet.cohorts[0].model_copy(update={"frames_per_second": 1e6})
    with pytest.raises(InfeasibleError, match=r"cohort cohort-0: no plan keeps its constraints: .*frame rate is"):
        planned(fleet.model_copy(update={"cohorts": (cohort,)}))


def test_a_deadline_nobody_meets_is_named_with_the_least_that_would_do() -> None:
    fleet = small_fleet(3, cohorts=1, constraints=Constraints(deadline_ms=0.5, max_accuracy_drop=None))
    with pytest.raises(
        InfeasibleError, match=r"deadline is 0.5 ms, the least that any plan takes is ([\d.]+)"
    ) as caught:
        planned(fleet)
    least = float(str(caught.value).rpartition(" ")[2])
    for factor, feasible in ((1.0, True), (0.98, False)):
        limits = NO_LIMITS.model_copy(update={"deadline_ms": least * factor})
        again = fleet.model_copy(
            update={"cohorts": tuple(cohort.model_copy(update={"constraints": limits}) for cohort in fleet.cohorts)}
        )
        if feasible:
            planned(again)
        else:
            with pytest.raises(InfeasibleError):
                planned(again)


def planned(fleet: Fleet) -> None:
    setting = setting_of(fleet)
    pool = pool_for(3)
    fleet_options(setting, [pool] * len(setting.cohorts), lambda cohort, codings: True)
