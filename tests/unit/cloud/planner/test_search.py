"""The best plan over all codecs, accuracy included: the same as by trying everything."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import every_cut
from support.planner_cases import chain_graph, random_graph, random_measurements, random_topology
from support.synthetic_accuracy import SyntheticAccuracy
from tercet.errors import InfeasibleError, SpecError
from tercet_cloud.measurement.drop_bound import counted_bound
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, Objective
from tercet_cloud.planner.searching.relaxation import frames_needed
from tercet_cloud.planner.searching.search import SearchResult, lossy_codings, search_plan

seeds = st.integers(0, 2**32 - 1)


def make_model(seed: int, constraints: Constraints, objective: Objective = "latency") -> CostModel:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(1, 6)))
    topology = random_topology(rng, constraints=constraints, objective=objective)
    return CostModel(random_measurements(rng, graph), topology)


def best_of_everything(model: CostModel, accuracy: SyntheticAccuracy) -> float | None:
    """The value of the best plan that keeps all constraints, by trying all cuts with all codecs."""
    graph, constraints = model.measurements.graph, model.topology.constraints
    titles = [codec.title for codec in model.measurements.coding.codecs]
    everything = len(graph.operations)
    best = None
    for (device, until), first, second in product(every_cut(graph), titles, titles):
        candidate = Candidate(
            device,
            until,
            (first if len(device) < everything else "raw", second if len(until) < everything else "raw"),
        )
        try:
            prediction = model.predict(candidate)
        except SpecError:
            continue
        allowed = constraints.max_accuracy_drop
        if allowed is not None and accuracy.of(candidate).drop_bound > allowed + 1e-9:
            continue
        if model.broken(prediction, candidate, constraints) is None:
            value = model.value(prediction)
            best = value if best is None else min(best, value)
    return best


def check_is_best(model: CostModel, seed: int) -> SearchResult | None:
    accuracy = SyntheticAccuracy(model, seed)
    expected = best_of_everything(model, accuracy)
    if expected is None:
        with pytest.raises(InfeasibleError):
            search_plan(model, accuracy, max_measured=100_000)
        return None
    result = search_plan(model, accuracy, max_measured=100_000)
    assert result.chosen.value == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert result.chosen.broken is None
    assert not result.stopped
    return result


@settings(max_examples=12, deadline=None)
@given(seeds)
def test_the_chosen_plan_is_the_best_of_all_that_keep_the_accuracy(seed: int) -> None:
    check_is_best(make_model(seed, Constraints(max_accuracy_drop=0.03)), seed)


@settings(max_examples=5, deadline=None)
@given(seeds, st.sampled_from(["throughput", "energy", "bytes"]))
def test_so_it_is_for_other_objectives(seed: int, objective: Objective) -> None:
    check_is_best(make_model(seed, Constraints(max_accuracy_drop=0.03), objective), seed)


@settings(max_examples=6, deadline=None)
@given(seeds, st.floats(10, 200), st.booleans())
def test_so_it_is_with_a_deadline_and_private_input(seed: int, deadline_ms: float, private: bool) -> None:
    limits = Constraints(max_accuracy_drop=0.03, deadline_ms=deadline_ms, private_input=private)
    check_is_best(make_model(seed, limits), seed)


def chain_model(*, drop: float | None, deadline_ms: float | None = None, seed: int = 4) -> CostModel:
    rng = np.random.default_rng(seed)
    measurements = random_measurements(rng, chain_graph(6))
    limits = Constraints(max_accuracy_drop=drop, deadline_ms=deadline_ms)
    return CostModel(measurements, random_topology(rng, constraints=limits))


def test_a_plan_that_loses_nothing_is_never_measured() -> None:
    model = chain_model(drop=0.0)
    accuracy = SyntheticAccuracy(model, 1)
    result = search_plan(model, accuracy)
    assert not lossy_codings(model, result.chosen.candidate)
    assert all(lossy_codings(model, candidate) for candidate in accuracy.measured)


def test_no_coding_is_measured_twice() -> None:
    model = chain_model(drop=0.02)
    accuracy = SyntheticAccuracy(model, 2)
    search_plan(model, accuracy)
    codings = [lossy_codings(model, candidate) for candidate in accuracy.measured]
    assert codings
    assert len(codings) == len(set(codings))


def test_when_measuring_stops_the_best_plan_known_to_be_allowed_is_chosen_and_the_result_says_so() -> None:
    model = chain_model(drop=0.0)
    accuracy = SyntheticAccuracy(model, 3)
    best = search_plan(model, accuracy).chosen
    assert accuracy.measured
    unmeasured = SyntheticAccuracy(model, 3)
    result = search_plan(model, unmeasured, max_measured=0)
    assert not unmeasured.measured
    assert result.stopped
    assert result.chosen.value == pytest.approx(best.value)


def test_everything_considered_is_kept_in_order_and_the_runner_up_is_among_it() -> None:
    model = chain_model(drop=0.03)
    result = search_plan(model, SyntheticAccuracy(model, 5))
    values = [item.value for item in result.considered]
    assert values == sorted(values)
    assert result.runner_up in result.considered
    assert result.chosen not in result.considered
    assert result.runner_up is not None
    assert result.runner_up.value >= result.chosen.value


def test_a_deadline_that_nothing_meets_is_named_with_the_one_that_would_do() -> None:
    free = chain_model(drop=None)
    quickest = search_plan(free, SyntheticAccuracy(free, 6)).chosen.value
    hopeless = chain_model(drop=None, deadline_ms=quickest / 2)
    with pytest.raises(InfeasibleError, match=r"raise deadline from .* to ([0-9.]+) ms$") as caught:
        search_plan(hopeless, SyntheticAccuracy(hopeless, 6))
    advised = advised_bound(caught.value)
    assert quickest <= advised <= quickest * 1.02
    relaxed = chain_model(drop=None, deadline_ms=advised)
    assert search_plan(relaxed, SyntheticAccuracy(relaxed, 6)).chosen.value == pytest.approx(quickest)


def test_accuracy_that_nothing_reaches_in_time_is_named_with_both_ways_out() -> None:
    free = chain_model(drop=None)
    quickest = search_plan(free, SyntheticAccuracy(free, 7)).chosen
    lossless = search_plan(chain_model(drop=0.0), SyntheticAccuracy(free, 7, worst=0.1)).chosen
    assert lossless.value > quickest.value
    strict = chain_model(drop=1e-7, deadline_ms=(quickest.value + lossless.value) / 2)
    with pytest.raises(InfeasibleError, match=r"allow max_accuracy_drop 0\.\d+; or raise deadline from") as caught:
        search_plan(strict, SyntheticAccuracy(strict, 7))
    assert advised_bound(caught.value) == pytest.approx(lossless.value, rel=0.02)


def advised_bound(error: InfeasibleError) -> float:
    """The last bound that the text advises."""
    return float(str(error).rpartition(" to ")[2].split()[0])


def test_two_limits_that_cannot_both_be_kept_are_raised_together_to_what_is_enough() -> None:
    free = chain_model(drop=None)
    hopeless = limited(free, Constraints(max_accuracy_drop=None, deadline_ms=1.0, max_device_energy_mj=0.001))
    with pytest.raises(InfeasibleError, match="no single one is to blame: raise deadline from 1 to") as caught:
        search_plan(hopeless, SyntheticAccuracy(hopeless, 8))
    deadline_ms, energy_mj = (float(part.split()[0]) for part in str(caught.value).split(" to ")[-2:])
    enough = limited(
        free, Constraints(max_accuracy_drop=None, deadline_ms=deadline_ms, max_device_energy_mj=energy_mj)
    )
    assert search_plan(enough, SyntheticAccuracy(enough, 8)).chosen.broken is None


def limited(model: CostModel, constraints: Constraints) -> CostModel:
    return model.under(model.topology.model_copy(update={"constraints": constraints}))


def test_more_frames_are_advised_only_if_they_can_help() -> None:
    good = MeasuredAccuracy("same", 1.0, 0.95, 1.0, 0.0, 0.0185, frames=160)
    needed = frames_needed(good, 0.005)
    assert needed is not None
    assert counted_bound(0, needed) <= 0.005 < counted_bound(0, int(needed * 0.9))
    assert frames_needed(replace(good, drop=0.02), 0.02) is None
