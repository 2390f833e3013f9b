"""The bench of fleets: what it makes up, and that it plans it."""

from __future__ import annotations

from tercet.models.store import Store
from tercet_cloud.bench.planner_fleet import COHORTS, DEVICES, EDGES, made_up_fleet, time_fleet


def test_a_made_up_fleet_has_the_size_of_the_goal_and_is_the_same_each_time() -> None:
    fleet = made_up_fleet()
    assert (fleet.devices, len(fleet.cohorts), len(fleet.edges)) == (DEVICES, COHORTS, EDGES) == (100_000, 200, 50)
    assert made_up_fleet() == fleet
    assert made_up_fleet(seed=1) != fleet


def test_a_small_made_up_fleet_is_planned_and_figures_say_of_what(model_store: Store) -> None:
    found = time_fleet(model_store, cohorts=5, edges=2, devices=200)
    assert found["devices"] == 200
    assert "no real fleet" in str(found["setting"])
    assert float(str(found["gap"])) <= 0.01
