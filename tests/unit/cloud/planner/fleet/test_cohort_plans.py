"""Fleets planned from measurements: limits, accuracy measured once, figures that agree with the cost model."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from support.planner_cases import chain_graph, random_measurements
from support.small_fleets import MODEL, NO_LIMITS, for_all, setting_of, small_fleet
from support.synthetic_accuracy import SyntheticAccuracy
from tercet.errors import InfeasibleError
from tercet_cloud.planner.costs.cost_model import CostModel, ModelMeasurements
from tercet_cloud.planner.costs.topology import Constraints, Weights
from tercet_cloud.planner.fleet.cohort_plans import FleetPlan, plan_cohorts
from tercet_cloud.planner.fleet.edge_loads import expected_wait_ms, owner_loads
from tercet_cloud.planner.fleet.fleet_file import Fleet, Upgrades, UpgradeStep
from tercet_cloud.planner.searching.search import lossy_codings


def network(seed: int = 3) -> ModelMeasurements:
    return random_measurements(np.random.default_rng(seed), chain_graph(6))


def planned(
    fleet: Fleet, measurements: ModelMeasurements, *, worst: float = 0.1, most: int = 64
) -> tuple[FleetPlan, SyntheticAccuracy]:
    setting = setting_of(fleet)
    accuracy = SyntheticAccuracy(
        CostModel(measurements, setting.cohorts[0].on_edge(fleet.edges[0])), seed=4, worst=worst
    )
    return plan_cohorts(setting, for_all(setting, measurements), {MODEL: accuracy}, most_measured=most), accuracy


def test_every_device_has_a_plan_and_what_is_used_is_the_sum_of_what_they_use() -> None:
    fleet = small_fleet(8, cohorts=4, cores=2)
    plan, _ = planned(fleet, network())
    for index, cohort in enumerate(fleet.cohorts):
        parts = [part for part in plan.parts if part.cohort == index]
        assert sum(part.devices for part in parts) == cohort.devices
        assert all(fleet.edges[part.edge].name in cohort.edges for part in parts)
    for position, edge in enumerate(fleet.edges):
        here = [part for part in plan.parts if part.edge == position]
        rates = [part.devices * fleet.cohorts[part.cohort].frames_per_second for part in here]
        used = {resource.kind: amount for resource, amount in plan.resources if resource.owner == edge.name}
        busy = sum(rate * part.prediction.edge_ms / 1e3 for rate, part in zip(rates, here, strict=True))
        sent = sum(rate * part.prediction.edge_cloud_bytes * 8e-6 for rate, part in zip(rates, here, strict=True))
        assert used["cores"] == pytest.approx(busy)
        assert used["uplink"] == pytest.approx(sent)
        assert busy <= edge.cores * fleet.utilisation * (1 + 1e-5)
        assert sent <= edge.uplink.up_mbps * fleet.utilisation * (1 + 1e-5)


def test_the_value_is_that_of_all_frames_by_the_cost_model() -> None:
    objective = Weights(latency_ms=1, energy_mj=0.2, cost=50)
    plan, _ = planned(small_fleet(5, objective=objective), network())
    total = sum(
        part.devices * plan.setting.cohorts[part.cohort].spec.frames_per_second * part.value for part in plan.parts
    )
    assert plan.choice.value == pytest.approx(total)
    for part in plan.parts:
        found = part.prediction
        by_hand = found.latency_ms + 0.2 * found.device_energy_mj + 50 * part.money
        assert part.value == pytest.approx(by_hand)
        assert part.money >= found.cost


def test_plans_keep_the_accuracy_of_their_own_cohort_and_each_coding_is_measured_once() -> None:
    measurements = network()
    fleet = small_fleet(2, cohorts=3, cores=1)
    drops = (0.01, 0.05, None)
    cohorts = tuple(
        cohort.model_copy(update={"constraints": Constraints(max_accuracy_drop=drop)})
        for cohort, drop in zip(fleet.cohorts, drops, strict=True)
    )
    plan, accuracy = planned(fleet.model_copy(update={"cohorts": cohorts}), measurements)
    for part in plan.parts:
        drop = drops[part.cohort]
        assert drop is None or accuracy.of(part.candidate).drop_bound <= drop
        assert (part.accuracy is None) == (not lossy_codings(accuracy.model, part.candidate))
    ways = [lossy_codings(accuracy.model, candidate) for candidate in accuracy.measured]
    assert len(ways) == len(set(ways)) == plan.measured


def test_a_looser_accuracy_never_makes_the_fleet_worse() -> None:
    values = []
    for drop in (0.0, 0.03, 1.0):
        fleet = small_fleet(6, constraints=Constraints(max_accuracy_drop=drop), cores=1)
        values.append(planned(fleet, network())[0].choice.value)
    assert all(later <= earlier * (1 + 2e-3) for earlier, later in pairwise(values))
    assert values[-1] < values[0]


def test_with_no_measurement_left_only_lossless_plans_and_known_ones_are_used() -> None:
    limits = Constraints(max_accuracy_drop=0.0, private_input=True)
    plan, accuracy = planned(small_fleet(2, constraints=limits, cores=1), network(), most=1)
    assert len(accuracy.measured) == 1
    assert plan.stopped
    assert all(part.accuracy is None for part in plan.parts)


def test_cohorts_with_other_profiles_have_plans_of_their_own() -> None:
    """The device of one is a hundred times as fast: it computes all itself, the others' nothing."""
    slow, fast = network(), network()
    slow.op_ms[0] *= 50
    fast.op_ms[0] /= 100
    setting = setting_of(small_fleet(3, cohorts=3, cores=16))
    accuracy = SyntheticAccuracy(CostModel(slow, setting.cohorts[0].on_edge(setting.fleet.edges[0])), seed=4)
    plan = plan_cohorts(setting, [slow, fast, slow], {MODEL: accuracy})
    for part in plan.parts:
        assert (part.prediction.device_edge_bytes == 0) == (part.cohort == 1)


def test_a_short_edge_sends_devices_elsewhere_and_a_core_more_is_what_to_buy() -> None:
    plan, _ = planned(small_fleet(6, cohorts=6, cores=1, most_devices=300), network())
    assert plan.purchases
    assert all(purchase.gain > 0 for purchase in plan.purchases)
    gains = [purchase.gain for purchase in plan.purchases]
    assert gains == sorted(gains, reverse=True)


def test_what_a_purchase_promises_is_what_planning_with_it_gains() -> None:
    """Also where better plans than those in use turn out too inaccurate only after buying."""
    fleet = small_fleet(6, cohorts=6, cores=1, most_devices=300, constraints=Constraints(max_accuracy_drop=0.03))
    before, _ = planned(fleet, network())
    purchase = next(item for item in before.purchases if item.resource.kind == "cores")
    edges = tuple(
        edge.model_copy(update={"cores": edge.cores + (edge.name == purchase.resource.owner)})
        for edge in fleet.edges
    )
    after, _ = planned(fleet.model_copy(update={"edges": edges}), network())
    gained = before.choice.value - after.choice.value
    assert gained == pytest.approx(purchase.gain, abs=2e-3 * before.choice.value)
    assert purchase.gain > 5e-3 * before.choice.value


def test_stated_prices_of_steps_rank_by_gain_per_money() -> None:
    fleet = small_fleet(6, cohorts=6, cores=1, most_devices=300)
    steps = {name: UpgradeStep(step=1, price=7) for name in Upgrades.model_fields}
    plan, _ = planned(fleet.model_copy(update={"upgrades": Upgrades(**steps)}), network())
    assert {purchase.step.price for purchase in plan.purchases} == {7.0}


def test_a_small_edge_loads_only_blocks_that_fit() -> None:
    """Weights of what its plans compute, each block once, and activations a core."""
    measurements = network()
    activation_mb = float(measurements.activation_bytes.max()) / 1e6
    whole_mb = float(measurements.weights_bytes.sum()) / 1e6
    memory_mb = activation_mb + whole_mb / 2
    fleet = small_fleet(1, cohorts=4, edges=1, cores=1, memory_mb=memory_mb, most_devices=5)
    slow = {"device": fleet.cohorts[0].device.model_copy(update={"slowdown": 40.0})}
    far = {"uplink": fleet.edges[0].uplink.model_copy(update={"round_trip_ms": 5000.0})}
    fleet = fleet.model_copy(
        update={
            "cohorts": tuple(item.model_copy(update=slow) for item in fleet.cohorts),
            "edges": tuple(item.model_copy(update=far) for item in fleet.edges),
        }
    )
    plan, _ = planned(fleet, measurements)
    loaded = set().union(*(part.candidate.until_cloud - part.candidate.device for part in plan.parts))
    held_mb = float(measurements.weights_bytes[list(loaded)].sum()) / 1e6 + activation_mb * bool(loaded)
    assert loaded
    assert held_mb <= memory_mb * (1 + 1e-6)
    used = next(amount for resource, amount in plan.resources if resource.kind == "memory")
    assert used == pytest.approx(held_mb)


def test_a_fleet_that_needs_more_than_there_is_says_what_lacks() -> None:
    measurements = network()
    fleet = small_fleet(3, cohorts=2, edges=1, cores=1)
    slow = fleet.cohorts[0].device.model_copy(update={"memory_mb": 31.0})
    many = tuple(item.model_copy(update={"devices": 100_000, "device": slow}) for item in fleet.cohorts)
    with pytest.raises(
        InfeasibleError, match=r"more than it shares.*(cores|uplink) of (edge-0|cloud): .* more than"
    ):
        planned(fleet.model_copy(update={"cohorts": many}), measurements)


def test_expected_waits_are_those_of_queueing_theory_at_one_server() -> None:
    """M/D/1: rho / (2 (1 - rho)) service times, exactly; and none where nothing is busy."""
    for rho in (0.1, 0.5, 0.7, 0.9):
        assert expected_wait_ms(rho, 1, 8.0) == pytest.approx(8.0 * rho / (2 * (1 - rho)))
    assert expected_wait_ms(0.0, 4, 8.0) == 0
    assert expected_wait_ms(2.8, 4, 8.0) < expected_wait_ms(0.7, 1, 8.0)


def test_loads_are_told_by_edge_and_for_the_cloud() -> None:
    plan, _ = planned(small_fleet(8, cohorts=4, cores=2, constraints=NO_LIMITS), network())
    loads = owner_loads(plan)
    assert [owner.name for owner in loads] == ["edge-0", "edge-1", "cloud"]
    for owner in loads:
        for load in owner.loads:
            assert load.share <= 1 + 1e-5
            assert (load.wait_ms > 0) == (load.used > 0 and load.resource.kind != "memory")
