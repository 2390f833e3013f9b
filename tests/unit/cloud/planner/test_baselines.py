"""What everything else would have cost: every baseline is what it says, and the best of its kind."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import every_cut
from support.planner_cases import (
    MENU,
    chain_graph,
    random_graph,
    random_measurements,
    random_topology,
)
from support.synthetic_accuracy import SyntheticAccuracy
from tercet.errors import SpecError
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, Objective
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import search_plan
from tercet_cloud.planner.views.baselines import baseline_rows, two_tier_rows

seeds = st.integers(0, 2**32 - 1)
TITLES = [codec.title for codec in MENU]


def random_model(
    seed: int, *, operations: int = 4, constraints: Constraints | None = None, objective: Objective = "latency"
) -> CostModel:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, operations)
    topology = random_topology(rng, objective=objective, constraints=constraints)
    return CostModel(random_measurements(rng, graph), topology)


def memo_of(model: CostModel, seed: int = 0) -> AccuracyMemo:
    return AccuracyMemo(model, SyntheticAccuracy(model, seed))


def rows_by_name(model: CostModel, memo: AccuracyMemo) -> dict[str, PlanRow]:
    rows = baseline_rows(model, memo)
    named = {row.name: row for row in rows}
    assert len(named) == len(rows)
    return named


def test_all_baselines_are_in_the_table_with_where_they_come_from() -> None:
    model = random_model(1)
    rows = rows_by_name(model, memo_of(model))
    assert {
        "all-device",
        "all-edge (raw)",
        "all-edge (png)",
        "all-cloud (raw)",
        "all-cloud (png)",
        "all-cloud (jpeg:75)",
        "all-cloud (webp:75)",
        "best of device and edge",
        "best of device and cloud",
        "best of edge and cloud",
        "Neurosurgeon-style",
        "DADS-style",
    } <= set(rows)
    assert all(row.note for row in rows.values())
    assert "Kang et al." in rows["Neurosurgeon-style"].note
    assert "Hu et al." in rows["DADS-style"].note


def test_single_tier_baselines_compute_where_they_say() -> None:
    model = random_model(2)
    rows = rows_by_name(model, memo_of(model))
    everything = frozenset(range(4))
    assert rows["all-device"].candidate == Candidate(everything, everything, ("raw", "raw"))
    assert rows["all-edge (png)"].candidate == Candidate(frozenset(), everything, ("png", "raw"))
    assert rows["all-cloud (jpeg:75)"].candidate == Candidate(frozenset(), frozenset(), ("jpeg:75", "jpeg:75"))
    assert rows["all-device"].prediction.device_edge_bytes == 0


def everything_priced(model: CostModel) -> list[tuple[Candidate, float]]:
    graph = model.measurements.graph
    full = len(graph.operations)
    priced = {}
    for (device, until), first, second in product(every_cut(graph), TITLES, TITLES):
        codecs = (first if len(device) < full else "raw", second if len(until) < full else "raw")
        candidate = Candidate(device, until, codecs)
        try:
            priced[candidate] = model.value(model.predict(candidate))
        except SpecError:
            continue
    return list(priced.items())


@settings(deadline=None, max_examples=4)
@given(seeds, st.sampled_from(["latency", "throughput"]))
def test_two_tier_baselines_are_the_best_of_their_tiers(seed: int, objective: Objective) -> None:
    model = random_model(seed, operations=3, objective=objective)
    priced = everything_priced(model)
    full = len(model.measurements.graph.operations)
    members = {
        "best of device and edge": lambda plan: len(plan.until_cloud) == full,
        "best of device and cloud": lambda plan: (
            plan.device == plan.until_cloud and (plan.codecs[0] == plan.codecs[1] or len(plan.device) == full)
        ),
        "best of edge and cloud": lambda plan: not plan.device,
    }
    rows = {row.name: row for row in two_tier_rows(model, memo_of(model))}
    for name, belongs in members.items():
        assert belongs(rows[name].candidate)
        assert rows[name].value == pytest.approx(min(value for plan, value in priced if belongs(plan)))


@settings(deadline=None, max_examples=6)
@given(seeds)
def test_published_planners_find_the_quickest_of_what_they_may_choose(seed: int) -> None:
    model = random_model(seed, constraints=Constraints(max_accuracy_drop=None))
    rows = rows_by_name(model, memo_of(model))
    raw = [
        (plan, model.predict(plan).latency_ms)
        for plan, _ in everything_priced(model)
        if set(plan.codecs) == {"raw"}
    ]
    full = len(model.measurements.graph.operations)
    two_tiers = [ms for plan, ms in raw if plan.device == plan.until_cloud or len(plan.until_cloud) == full]
    assert rows["DADS-style"].prediction.latency_ms == pytest.approx(min(two_tiers))
    chain = [
        ms
        for plan, ms in raw
        if plan.device == plan.until_cloud
        and plan.device == frozenset(range(len(plan.device)))
        and (len(plan.device) in (0, full) or len(plan.crossing(model.measurements.graph, 0)) == 1)
    ]
    assert rows["Neurosurgeon-style"].prediction.latency_ms == pytest.approx(min(chain))


@settings(deadline=None, max_examples=4)
@given(seeds)
def test_no_baseline_that_keeps_everything_is_better_than_the_chosen_plan(seed: int) -> None:
    model = random_model(seed, constraints=Constraints(max_accuracy_drop=0.03))
    memo = memo_of(model, seed)
    chosen = search_plan(model, memo, max_measured=10_000).chosen
    for row in baseline_rows(model, memo):
        assert row.broken is not None or row.value >= chosen.value * (1 - 1e-6)


def test_a_baseline_that_breaks_a_constraint_stays_and_says_so() -> None:
    model = random_model(3, constraints=Constraints(max_accuracy_drop=0.0, deadline_ms=0.01, private_input=True))
    rows = rows_by_name(model, memo_of(model))
    assert (rows["all-device"].broken or "").startswith("deadline: ")
    assert rows["all-cloud (jpeg:75)"].broken == "private input: the raw input leaves the device"
    assert rows["best of edge and cloud"].broken == "private input: the raw input leaves the device"
    assert {"best of device and edge", "DADS-style"} <= set(rows)


def test_of_a_family_the_best_quality_that_is_accurate_enough_is_taken() -> None:
    model = random_model(4, constraints=Constraints(max_accuracy_drop=0.0))
    rows = rows_by_name(model, memo_of(model))
    row = rows["all-cloud (jpeg:75)"]
    assert row.accuracy is not None
    assert (row.broken or "").startswith("accuracy drop up to")
    assert rows["all-cloud (png)"].broken is None


def test_a_model_that_takes_no_photos_has_the_other_baselines() -> None:
    rng = np.random.default_rng(5)
    graph = random_graph(rng, 4, inputs=2)
    model = CostModel(random_measurements(rng, graph), random_topology(rng))
    rows = rows_by_name(model, memo_of(model))
    assert "all-cloud (raw)" in rows
    assert not any("jpeg" in name or "png" in name for name in rows)


def test_each_way_of_coding_is_measured_once() -> None:
    model = random_model(6, constraints=Constraints(max_accuracy_drop=0.05))
    accuracy = SyntheticAccuracy(model, 6)
    memo = AccuracyMemo(model, accuracy)
    baseline_rows(model, memo)
    before = len(accuracy.measured)
    baseline_rows(model, memo)
    assert len(accuracy.measured) == before > 0


def test_a_memo_allows_only_what_it_has_measured_within_its_budget() -> None:
    rng = np.random.default_rng(7)
    model = CostModel(random_measurements(rng, chain_graph(3)), random_topology(rng))
    some = Constraints(max_accuracy_drop=0.5)
    lossless = Candidate(frozenset(), frozenset(), ("png", "png"))
    jpeg, webp = (Candidate(frozenset(), frozenset(), (title, title)) for title in ("jpeg:75", "webp:75"))
    memo = AccuracyMemo(model, SyntheticAccuracy(model, 7), budget=1)
    assert memo.allows(lossless, some)
    assert memo.allows(jpeg, some)
    assert not memo.allows(webp, some)
    assert memo.allows(jpeg, some)
    assert memo.allows(webp, Constraints(max_accuracy_drop=None))
    assert memo.of(webp) is None
    assert not memo.allows(jpeg, Constraints(max_accuracy_drop=0.0))
