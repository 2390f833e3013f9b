"""The choice among options: against every possible choice, on fleets small enough to try them all."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.random_fleets import best_by_trying, random_fleet
from tercet.errors import InfeasibleError
from tercet_cloud.planner.fleet.fleet_plan import plan_fleet
from tercet_cloud.planner.fleet.fleet_problem import FleetProblem
from tercet_cloud.planner.fleet.relaxation import Rows, relax, shortage
from tercet_cloud.planner.fleet.tidying import tidied

SEEDS = st.integers(0, 10_000)


def value_of(problem: FleetProblem, *, divide: bool = True) -> float:
    try:
        return plan_fleet(problem, divide=divide, gap=0).value
    except InfeasibleError:
        return np.inf


@settings(max_examples=24, deadline=None)
@given(SEEDS, st.booleans(), st.booleans())
def test_no_choice_is_better_than_the_plan(seed: int, divide: bool, memory: bool) -> None:
    problem = random_fleet(seed, memory=memory)
    assert value_of(problem, divide=divide) == pytest.approx(best_by_trying(problem, divide=divide), rel=1e-6)


@settings(max_examples=24, deadline=None)
@given(SEEDS, st.sampled_from([0.0, 0.01, 0.1]))
def test_a_plan_keeps_all_limits_and_serves_every_device(seed: int, gap: float) -> None:
    problem = random_fleet(seed)
    try:
        choice = plan_fleet(problem, gap=gap)
    except InfeasibleError:
        return
    assert (choice.load <= problem.usable * (1 + 1e-5)).all()
    assert choice.load == pytest.approx(problem.load(choice.options, choice.devices))
    served = np.bincount(problem.cohort_of[choice.options], choice.devices, len(problem.units))
    assert served.tolist() == problem.units.tolist()
    assert choice.value >= choice.relaxation.value * (1 - 1e-6)
    if choice.proven:
        assert choice.gap <= gap + 1e-6 or choice.value == pytest.approx(best_by_trying(problem), rel=gap + 1e-6)


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_cohorts_that_are_not_divided_have_one_option_each(seed: int) -> None:
    problem = random_fleet(seed)
    try:
        choice = plan_fleet(problem, divide=False, gap=0)
    except InfeasibleError:
        return
    assert choice.devices.tolist() == problem.units[problem.cohort_of[choice.options]].tolist()


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_the_relaxation_over_few_columns_is_that_over_all(seed: int) -> None:
    problem = random_fleet(seed, memory=False)
    rows = Rows(problem)
    lacking = shortage(problem, rows)
    everything = np.arange(len(problem.value))
    if lacking.fits:
        assert relax(problem, rows, lacking.columns).value == pytest.approx(relax(problem, rows, everything).value)


def short_fleet() -> FleetProblem:
    """Half of everything that the cheapest way through would take."""
    problem = random_fleet(4, memory=False)
    least = problem.usage.toarray().min(axis=1) * problem.units.sum()
    return replace(
        problem,
        resources=tuple(
            replace(item, stated=max(0.01, float(amount) / 2))
            for item, amount in zip(problem.resources, least, strict=True)
        ),
    )


def test_a_shortage_names_resources_and_adding_what_it_names_is_enough() -> None:
    problem = short_fleet()
    with pytest.raises(InfeasibleError, match=r"needs more than it shares.*units more than") as caught:
        plan_fleet(problem)
    named = re.findall(r"(\w+) of ([\w-]+): ([\d.]+) units more", str(caught.value))
    assert named
    for kind, owner, amount in named:
        index = next(i for i, item in enumerate(problem.resources) if (item.kind, item.owner) == (kind, owner))
        problem = problem.with_more(index, float(amount))
    assert shortage(problem, Rows(problem)).fits


def test_what_lacks_is_said_in_stated_units_though_only_a_part_may_be_used() -> None:
    full = short_fleet()
    halved = replace(
        full, resources=tuple(replace(item, stated=item.stated * 2, share=0.5) for item in full.resources)
    )
    with pytest.raises(InfeasibleError) as caught:
        plan_fleet(full)
    whole = [float(amount) for amount in re.findall(r": ([\d.]+) units", str(caught.value))]
    with pytest.raises(InfeasibleError, match="50% of it usable") as caught:
        plan_fleet(halved)
    assert [float(amount) for amount in re.findall(r": ([\d.]+) units", str(caught.value))] == pytest.approx(
        [2 * amount for amount in whole], rel=0.02
    )


def test_cohorts_that_fit_only_divided_are_told_so() -> None:
    seeds = (
        seed
        for seed in range(200)
        if np.isfinite(best_by_trying(random_fleet(seed, memory=False)))
        and not np.isfinite(best_by_trying(random_fleet(seed, memory=False), divide=False))
    )
    with pytest.raises(InfeasibleError, match=r"only if cohorts could be divided: .*divide_cohorts: true"):
        plan_fleet(random_fleet(next(seeds), memory=False), divide=False)


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.floats(0, 5))
def test_joining_small_parts_keeps_limits_and_costs_no_more_than_allowed(seed: int, allowance: float) -> None:
    problem = random_fleet(seed)
    try:
        choice = plan_fleet(problem, gap=0)
    except InfeasibleError:
        return
    options, devices = tidied(problem, choice.options, choice.devices, allowance)
    assert len(options) <= len(choice.options)
    assert float(problem.value[options] @ devices) <= choice.value + allowance + 1e-9
    assert (problem.load(options, devices) <= np.maximum(choice.load, problem.usable) * (1 + 1e-5)).all()
    assert devices.sum() == problem.units.sum()
