from __future__ import annotations

import numpy as np
import pytest

from support.planner_cases import chain_graph, random_measurements, random_topology
from support.synthetic_accuracy import SyntheticAccuracy
from tercet_cloud.bench.oracle_pool import CHOSEN, SLOWEST_MS, PoolPlan, grid_cuts, plan_pool
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import search_plan


def made_pool(seed: int) -> tuple[CostModel, tuple[PoolPlan, ...]]:
    rng = np.random.default_rng(seed)
    graph = chain_graph(12)
    topology = random_topology(rng, objective="latency", constraints=Constraints(max_accuracy_drop=0.1))
    model = CostModel(random_measurements(rng, graph), topology)
    memo = AccuracyMemo(model, SyntheticAccuracy(model, seed), budget=20)
    return model, plan_pool(model, memo, search_plan(model, memo))


@pytest.mark.parametrize("seed", range(3))
def test_the_pool_holds_the_choice_the_baselines_and_others_each_once(seed: int) -> None:
    _, pool = made_pool(seed)
    assert CHOSEN in pool[0].roles
    assert len({plan.candidate for plan in pool}) == len(pool)
    roles = {role for plan in pool for role in plan.roles}
    assert {"all-device", "Neurosurgeon-style", "DADS-style", "grid"} <= roles
    assert all(plan.prediction.latency_ms <= SLOWEST_MS for plan in pool)


@pytest.mark.parametrize("seed", range(3))
def test_by_prediction_nothing_that_keeps_the_constraints_is_better_than_the_choice(seed: int) -> None:
    _, pool = made_pool(seed)
    chosen, *others = pool
    assert chosen.broken is None
    for plan in others:
        assert plan.broken or plan.prediction.latency_ms >= chosen.prediction.latency_ms - 1e-6


def test_the_grid_is_spread_over_the_compute_at_the_narrowest_places() -> None:
    model, _ = made_pool(1)
    cuts = grid_cuts(model)
    assert 2 <= len(cuts) <= 6
    assert set(cuts) <= set(chain_cuts(model.measurements.graph)[1:-1])
    assert sorted(cuts, key=len) == cuts
