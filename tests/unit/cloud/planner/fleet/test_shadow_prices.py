"""What to buy next: prices against solving again with a step bought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.random_fleets import random_fleet
from tercet.errors import InfeasibleError
from tercet_cloud.planner.fleet.fleet_plan import FleetChoice, plan_fleet
from tercet_cloud.planner.fleet.fleet_problem import FleetProblem, Resource
from tercet_cloud.planner.fleet.relaxation import Rows, relax
from tercet_cloud.planner.fleet.shadow_prices import Step, buy_next


def chosen(problem: FleetProblem) -> FleetChoice | None:
    try:
        return plan_fleet(problem, gap=0)
    except InfeasibleError:
        return None


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1))
def test_a_price_never_promises_less_than_a_step_gains_and_a_tiny_step_gains_it(seed: int, share: float) -> None:
    problem = random_fleet(seed, memory=False)
    problem = replace(
        problem,
        resources=tuple(replace(item, stated=item.stated / share, share=share) for item in problem.resources),
    )
    choice = chosen(problem)
    if choice is None:
        return
    for step in (1e-4, 0.3):
        for purchase in buy_next(choice, lambda resource: Step(step), top=9):  # noqa: B023
            assert purchase.gain <= purchase.predicted_gain * (1 + 1e-4) + 1e-5
            if step < 1e-3:
                assert purchase.gain == pytest.approx(purchase.predicted_gain, rel=0.02, abs=2e-5)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_the_first_on_the_list_is_what_gains_most_of_all_that_could_be_bought(seed: int) -> None:
    choice = chosen(random_fleet(seed, memory=False))
    if choice is None:
        return
    problem, before = choice.settled.problem, choice.settled.relaxation
    gains = []
    for index in range(len(problem.resources)):
        bought = problem.with_more(index, 0.3)
        gains.append(before.value - relax(bought, Rows(bought), before.columns).value)
    found = buy_next(choice, lambda resource: Step(0.3), top=1)
    assert (found[0].gain if found else 0.0) == pytest.approx(max(gains), abs=2e-5)


def test_with_prices_the_list_is_by_gain_per_money() -> None:
    choice = next(item for seed in range(99) if (item := chosen(random_fleet(seed))) and len(bought(item)) > 1)
    dear = bought(choice)[0].resource

    def step_of(resource: Resource) -> Step:
        return Step(0.2, price=1e6 if resource == dear else 1.0)

    assert buy_next(choice, step_of)[0].resource != dear


def bought(choice: FleetChoice) -> tuple[object, ...]:
    return buy_next(choice, lambda resource: Step(0.2))


def test_nothing_is_worth_buying_where_nothing_is_short() -> None:
    problem = random_fleet(1, memory=False)
    roomy = replace(problem, resources=tuple(replace(item, stated=1e6) for item in problem.resources))
    choice = plan_fleet(roomy)
    assert buy_next(choice, lambda resource: Step(1.0)) == ()
    best = [float(problem.value[problem.cohort_of == index].min()) for index in range(len(problem.units))]
    assert choice.value == pytest.approx(float(np.array(best) @ problem.units))


def test_memory_is_on_the_list_where_another_block_would_fit() -> None:
    """Blocks are loaded whole: the gain is that of planning again with the step."""
    found = []
    for seed in range(60):
        choice = chosen(random_fleet(seed))
        if choice is None:
            continue
        for item in buy_next(choice, lambda resource: Step(5.0)):
            if item.resource.kind == "memory":
                index = choice.solved.resources.index(item.resource)
                again = plan_fleet(choice.solved.with_more(index, 5.0), gap=0)
                before = choice.settled.relaxation.value
                assert item.gain == pytest.approx(before - again.settled.relaxation.value, abs=0.05 * before)
                found.append(item)
        if len(found) > 3:
            return
    assert found
