"""Pools: what is left out is not missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import downsets
from support.planner_cases import random_graph, random_measurements
from support.small_fleets import setting_of, small_fleet
from tercet.errors import InfeasibleError
from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.fleet.fleet_plan import plan_fleet
from tercet_cloud.planner.fleet.options import fleet_options
from tercet_cloud.planner.fleet.plan_pool import Cut, make_pool, narrowing_cuts, worthwhile_cuts
from tercet_cloud.planner.fleet.setting import FleetSetting
from tercet_cloud.planner.searching.search import Coding


def anything(codings: tuple[Coding, ...]) -> bool:
    return True


def network(seed: int, operations: int = 5) -> ModelMeasurements:
    random = np.random.default_rng(seed)
    return random_measurements(random, random_graph(random, operations))


def every_cut(measurements: ModelMeasurements) -> list[Cut]:
    found = downsets(measurements.graph)
    assert found is not None
    return found


def fleet_value(setting: FleetSetting, measurements: ModelMeasurements, cuts: list[Cut], *, pruned: bool) -> float:
    """Of the best plan over these cuts; with codecs and plans that others beat in every respect left out or not."""
    pool = make_pool(measurements, cuts, some_may=anything, all_may=anything if pruned else lambda codings: False)
    options = fleet_options(setting, [pool] * len(setting.cohorts), lambda cohort, codings: True)
    return plan_fleet(options.problem, gap=0).value


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_plans_that_others_beat_in_every_respect_are_not_missed(seed: int) -> None:
    setting, measurements = setting_of(small_fleet(seed, cores=1)), network(seed, 4)
    cuts = every_cut(measurements)
    try:
        everything = fleet_value(setting, measurements, cuts, pruned=False)
    except InfeasibleError:
        return
    assert fleet_value(setting, measurements, cuts, pruned=True) == pytest.approx(everything, rel=1e-6)


def test_the_cuts_worth_having_cost_little_beside_all_cuts() -> None:
    """Of fleets that share one core an edge: the middle is the optimum over all cuts, the worst close to it."""
    excess = []
    for seed in range(4):
        setting, measurements = setting_of(small_fleet(seed, cores=1)), network(seed)
        links = [cohort.on_edge(setting.fleet.edges[0]) for cohort in setting.cohorts]
        try:
            best = fleet_value(setting, measurements, every_cut(measurements), pruned=True)
        except InfeasibleError:
            continue
        found = fleet_value(setting, measurements, list(worthwhile_cuts(measurements, links)), pruned=True)
        assert found >= best * (1 - 1e-6)
        excess.append(found / best - 1)
    assert len(excess) > 2
    assert np.median(excess) < 1e-6
    assert max(excess) < 0.05


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_no_plan_of_a_pool_uses_a_coding_that_nobody_may_use(seed: int) -> None:
    measurements = network(seed, 4)
    cuts = every_cut(measurements)

    def no_jpeg(codings: tuple[Coding, ...]) -> bool:
        return all(title != "jpeg:75" for _, title in codings)

    pool = make_pool(measurements, cuts, some_may=no_jpeg, all_may=no_jpeg)
    assert all("jpeg:75" not in candidate.codecs for candidate in pool.candidates)
    # What only some may use is there, and so is what it would have beaten.
    both = make_pool(measurements, cuts, some_may=anything, all_may=no_jpeg)
    assert set(pool.candidates) <= set(both.candidates)


def test_every_pool_has_the_whole_model_on_every_tier() -> None:
    measurements = network(1)
    setting = setting_of(small_fleet(1))
    cuts = worthwhile_cuts(measurements, [setting.cohorts[0].on_edge(setting.fleet.edges[0])])
    assert {frozenset(), frozenset(range(len(measurements.graph.operations)))} <= set(cuts)
    assert set(narrowing_cuts(measurements)) <= set(cuts)
