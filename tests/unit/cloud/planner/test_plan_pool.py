"""Curve, front and map: all plans priced at once, the same as one by one."""

from __future__ import annotations

from itertools import product
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import downsets, every_cut
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
from tercet_cloud.planner.costs.topology import Constraints, LinkSpec, TierSpec
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import lossy_codings
from tercet_cloud.planner.views.condition_map import condition_map, link_at, rich_pool
from tercet_cloud.planner.views.cut_curve import cut_curve
from tercet_cloud.planner.views.pareto import pareto_front, pareto_rows
from tercet_cloud.planner.views.plan_pool import Allowed, PlanPool
from tercet_cloud.planner.views.plan_views import plan_views

seeds = st.integers(0, 2**32 - 1)
TITLES = [codec.title for codec in MENU]
FREE = Constraints(max_accuracy_drop=None)


def make_model(seed: int, *, chain: bool = True, operations: int = 4, limits: Constraints = FREE) -> CostModel:
    rng = np.random.default_rng(seed)
    graph = chain_graph(operations) if chain else random_graph(rng, operations)
    return CostModel(random_measurements(rng, graph), random_topology(rng, constraints=limits))


def all_candidates(graph: CutGraph) -> list[Candidate]:
    full = len(graph.operations)
    found = {
        Candidate(device, until, (one if len(device) < full else "raw", two if len(until) < full else "raw"))
        for (device, until), one, two in product(every_cut(graph), TITLES, TITLES)
    }
    return list(found)


def at_link(model: CostModel, link: LinkSpec) -> CostModel:
    links = model.topology.links.model_copy(update={"device_edge": link})
    return model.under(model.topology.model_copy(update={"links": links}))


def possible(model: CostModel) -> list[tuple[Candidate, float, float]]:
    """All plans that keep the constraints, with latency and bytes."""
    found = []
    for candidate in all_candidates(model.measurements.graph):
        try:
            prediction = model.predict(candidate)
        except SpecError:
            continue
        if model.broken(prediction, candidate, model.topology.constraints) is None:
            found.append((candidate, prediction.latency_ms, prediction.device_edge_bytes))
    return found


def anything(_candidate: Candidate) -> bool:
    return True


def some_only(seed: int) -> Allowed:
    def allowed(candidate: Candidate) -> bool:
        text = f"{seed} {sorted(candidate.device)} {sorted(candidate.until_cloud)} {candidate.codecs}"
        return crc32(text.encode()) % 3 > 0

    return allowed


@settings(deadline=None, max_examples=20)
@given(seeds, st.booleans())
def test_every_plan_of_a_pool_costs_what_is_predicted(seed: int, chain: bool) -> None:
    model = make_model(seed, chain=chain)
    pool = PlanPool(model, downsets(model.measurements.graph) or [])
    link = model.topology.links.device_edge
    latencies, energies = pool.latencies_ms(link), pool.device_energy_mj(link)
    for head in range(len(pool)):
        prediction = model.predict(pool.candidate(head))
        assert latencies[head] == pytest.approx(prediction.latency_ms)
        assert energies[head] == pytest.approx(prediction.device_energy_mj)
        assert pool.size_bytes[head] == pytest.approx(prediction.device_edge_bytes)


@settings(deadline=None, max_examples=15)
@given(seeds, st.floats(0.1, 1000), st.floats(0, 200), st.booleans())
def test_the_quickest_of_a_pool_with_all_cuts_is_the_quickest_plan(
    seed: int, mbps: float, round_trip_ms: float, choosy: bool
) -> None:
    model = make_model(seed, chain=False)
    link = link_at(model.topology, mbps, round_trip_ms)
    allowed = some_only(seed) if choosy else anything
    pool = PlanPool(model, downsets(model.measurements.graph) or [])
    head = pool.quickest(link, allowed)
    best = min((ms for plan, ms, _ in possible(at_link(model, link)) if allowed(plan)), default=None)
    assert (None if head is None else pool.latencies_ms(link)[head]) == pytest.approx(best)


@settings(deadline=None, max_examples=10)
@given(seeds, st.floats(30.5, 38), st.booleans())
def test_privacy_and_memory_are_kept(seed: int, memory_mb: float, private: bool) -> None:
    model = make_model(
        seed, limits=FREE.model_copy(update={"private_input": private, "max_device_memory_mb": memory_mb})
    )
    tiers = model.topology.tiers.model_copy(update={"edge": TierSpec(memory_mb=3), "cloud": TierSpec(memory_mb=4)})
    model = model.under(model.topology.model_copy(update={"tiers": tiers}))
    pool = PlanPool(model, chain_cuts(model.measurements.graph))
    link = model.topology.links.device_edge
    head = pool.quickest(link, anything)
    best = min((ms for _, ms, _ in possible(model)), default=None)
    assert (None if head is None else pool.latencies_ms(link)[head]) == pytest.approx(best)


@settings(deadline=None, max_examples=4)
@given(seeds, st.booleans())
def test_every_cell_of_the_map_is_the_quickest_plan_there(seed: int, chain: bool) -> None:
    model = make_model(seed, chain=chain)
    memo = AccuracyMemo(model, SyntheticAccuracy(model, seed))
    speeds, round_trips = (0.3, 5.0, 300.0), (0.0, 40.0)
    pool = rich_pool(model, [], anything, speeds)
    drawn = condition_map(model, memo, pool, anything, speeds_mbps=speeds, round_trips_ms=round_trips)
    assert [(cell.mbps, cell.round_trip_ms) for cell in drawn.cells] == list(product(speeds, round_trips))
    for cell in drawn.cells:
        there = at_link(model, link_at(model.topology, cell.mbps, cell.round_trip_ms))
        best = min(ms for _, ms, _ in possible(there))
        plan = drawn.plans[cell.plan].candidate
        assert cell.latency_ms == pytest.approx(there.predict(plan).latency_ms)
        assert cell.latency_ms >= best * (1 - 1e-9)
        if chain:
            assert cell.latency_ms == pytest.approx(best)


def test_a_cut_off_the_chain_joins_the_pool_if_it_is_better() -> None:
    """Over random graphs, most of which have no chain to speak of, the map hardly ever misses the exact best."""
    missed = 0
    for seed in range(6):
        model = make_model(seed, chain=False, operations=5)
        pool = rich_pool(model, [], anything, (1.0, 30.0))
        for speed in (1.0, 30.0):
            link = link_at(model.topology, speed, 0.0)
            head = pool.quickest(link, anything)
            assert head is not None
            best = min(ms for _, ms, _ in possible(at_link(model, link)))
            missed += pool.latencies_ms(link)[head] > best * (1 + 1e-6)
    assert missed <= 1


@settings(deadline=None, max_examples=8)
@given(seeds, st.booleans())
def test_the_front_is_all_that_nothing_beats(seed: int, limited: bool) -> None:
    limits = Constraints(max_accuracy_drop=None, deadline_ms=60, max_device_energy_mj=90) if limited else FREE
    model = make_model(seed, limits=limits)
    memo = AccuracyMemo(model, SyntheticAccuracy(model, seed))
    pool = PlanPool(model, downsets(model.measurements.graph) or [])
    rows = pareto_rows(model, memo, pool, anything)
    found = [(row.prediction.latency_ms, row.prediction.device_edge_bytes) for row in rows]
    plans = [(ms, size) for _, ms, size in possible(model)]
    expected = sorted(
        {
            (round(ms, 6), round(size, 3))
            for ms, size in plans
            if not any((a <= ms and b < size) or (a < ms and b <= size) for a, b in plans)
        }
    )
    assert [(round(ms, 6), round(size, 3)) for ms, size in found] == expected
    assert pareto_front(rows) == rows


@settings(deadline=None, max_examples=4)
@given(seeds)
def test_the_curve_is_the_best_for_every_place_where_the_device_may_stop(seed: int) -> None:
    model = make_model(seed)
    graph = model.measurements.graph
    pool = PlanPool(model, chain_cuts(graph))
    points = cut_curve(model, pool, anything)
    assert [point.boundary for point in points] == [("input0",), ("t0",), ("t1",), ("t2",), ("t3",)]
    for cut, point in zip(chain_cuts(graph), points, strict=True):
        best = min(ms for plan, ms, _ in possible(model) if plan.device == cut)
        assert point.prediction.latency_ms == pytest.approx(best)


def test_a_private_input_has_no_place_on_the_curve() -> None:
    model = make_model(1, limits=FREE.model_copy(update={"private_input": True}))
    points = cut_curve(model, PlanPool(model, chain_cuts(model.measurements.graph)), anything)
    assert ("input0",) not in [point.boundary for point in points]


def test_views_hold_only_plans_whose_accuracy_is_known_to_do() -> None:
    model = make_model(8, limits=Constraints(max_accuracy_drop=0.04))
    accuracy = SyntheticAccuracy(model, 8)
    memo = AccuracyMemo(model, accuracy, budget=40)
    views = plan_views(model, memo, [])
    assert 0 < len(accuracy.measured) <= 40
    lossy = [row for row in (*views.pareto, *views.map.plans) if lossy_codings(model, row.candidate)]
    assert lossy
    for row in lossy:
        assert row.accuracy is not None
        assert row.accuracy.drop_bound <= 0.04


def test_views_without_a_budget_lose_nothing() -> None:
    model = make_model(3, limits=Constraints(max_accuracy_drop=0.04))
    views = plan_views(model, AccuracyMemo(model, SyntheticAccuracy(model, 3)), [])
    assert len(views.curve) == 5
    plans = [row.candidate for row in (*views.pareto, *views.map.plans)]
    assert plans
    assert not any(lossy_codings(model, plan) for plan in plans)
    assert {title for point in views.curve for title in point.codecs} <= {"raw", "zstd", "png"}
