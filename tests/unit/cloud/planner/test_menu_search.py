"""The best cut and codecs by bounds: the same as by trying all cuts with all codecs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import every_cut
from support.planner_cases import random_graph, random_measurements, random_topology
from support.tensor_accuracy import TensorAccuracy
from tercet.errors import SpecError
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, Objective
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor
from tercet_cloud.planner.cuts.exact import CutProblem
from tercet_cloud.planner.searching.accuracy_book import AccuracyBook
from tercet_cloud.planner.searching.menu_search import MenuSearch
from tercet_cloud.planner.searching.search import Line, lossy_codings

seeds = st.integers(0, 2**32 - 1)
PATIENT = 10**6


def make_model(seed: int, objective: Objective = "latency", operations: int = 6) -> CostModel:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(1, operations)), inputs=int(rng.integers(1, 3)))
    constraints = Constraints(
        max_accuracy_drop=[None, 0.05, 0.02][seed % 3],
        deadline_ms=[None, 30.0, 100.0][seed // 3 % 3],
        private_input=seed % 4 == 0,
        max_device_memory_mb=[None, 32.0][seed % 2],
    )
    return CostModel(
        random_measurements(rng, graph), random_topology(rng, constraints=constraints, objective=objective)
    )


def best_of_everything(model: CostModel, accuracy: TensorAccuracy) -> float | None:
    constraints = model.topology.constraints
    titles = [codec.title for codec in model.measurements.coding.codecs]
    everything = len(model.measurements.graph.operations)
    values = []
    for (device, until), first, second in product(every_cut(model.measurements.graph), titles, titles):
        used = (first if len(device) < everything else "raw", second if len(until) < everything else "raw")
        candidate = Candidate(device, until, used)
        try:
            prediction = model.predict(candidate)
        except SpecError:
            continue
        allowed = constraints.max_accuracy_drop
        if allowed is not None and accuracy.of(candidate).drop_bound > allowed + 1e-9:
            continue
        if model.broken(prediction, candidate, constraints) is None:
            values.append(model.value(prediction))
    return min(values, default=None)


def best_allowed(model: CostModel, book: AccuracyBook) -> tuple[Candidate, float] | None:
    """Search, measure what was found, and search again until that is accurate enough."""
    search = MenuSearch(model, model.topology.constraints, book)
    while (found := search.best()) is not None and not book.allows(found[0]):
        book.measure(found[0])
    return found


@pytest.mark.parametrize("objective", ["latency", "throughput", "energy", "bytes"])
def test_no_cut_with_any_codecs_is_better(objective: Objective) -> None:
    found = 0
    for seed in range(24):
        model = make_model(seed, objective)
        accuracy = TensorAccuracy(model, seed)
        expected = best_of_everything(model, accuracy)
        best = best_allowed(model, AccuracyBook(model, accuracy, PATIENT, patience=PATIENT))
        assert (best is None) == (expected is None), f"seed {seed}"
        if best is not None and expected is not None:
            assert best[1] == pytest.approx(expected, rel=1e-6), f"seed {seed}"
            found += 1
    assert found > 10


@settings(deadline=None, max_examples=40)
@given(seeds, st.sampled_from(["raw", "zstd", "int8"]), st.sampled_from(["raw", "zstd", "int8"]))
def test_prices_of_a_link_hang_on_its_own_codec_alone(seed: int, first: str, second: str) -> None:
    """What bounding a whole menu by one program rests on."""
    model = make_model(seed, "throughput")
    pair, one, other = (
        model.problem(codecs, Constraints(deadline_ms=50.0))
        for codecs in ((first, second), (first, first), (second, second))
    )

    def costs(problem: CutProblem) -> list:
        return [problem.additive, *problem.stages, *(limit.cost for limit in problem.limits)]

    for mine, from_first, from_second in zip(costs(pair), costs(one), costs(other), strict=True):
        assert (mine.on_tier == from_first.on_tier).all()
        assert (mine.over_link[0] == from_first.over_link[0]).all()
        assert (mine.over_link[1] == from_second.over_link[1]).all()
        assert mine.link_used == from_first.link_used
        assert mine.device_used == from_first.device_used


def test_only_the_codecs_asked_for_are_used() -> None:
    for seed in range(20):
        model = make_model(seed)
        book = AccuracyBook(model, TensorAccuracy(model, seed), 0)
        found = MenuSearch(model, Constraints(max_accuracy_drop=None), book, ["raw"]).best()
        assert found is not None
        assert found[0].codecs == ("raw", "raw")


def constant(drop: float) -> MeasuredAccuracy:
    return MeasuredAccuracy("made up", 1 - drop, 1 - drop, 1.0, drop, drop, frames=10)


def test_a_codec_that_fails_wherever_it_is_tried_is_given_up() -> None:
    model = make_model(1, operations=7)
    assert model.topology.constraints.max_accuracy_drop == 0.05
    book = AccuracyBook(model, lambda _: constant(0.5), PATIENT, patience=2)
    best = best_allowed(model, book)
    assert best is not None
    assert not lossy_codings(model, best[0])
    assert all(len(titles) <= 2 for titles in book.given_up)
    for title in ("int8", "jpeg:75", "webp:75"):
        failures = sum(known == (title,) for known in failed_titles(book))
        assert failures <= 2
        if failures == 2:
            assert (title,) in book.given_up
            assert book.gives_up(Line((title, "raw")))


def failed_titles(book: AccuracyBook) -> list[tuple[str, ...]]:
    return [tuple(title for _, title in coded) for coded in book._too_lossy]


def test_two_codings_that_are_too_much_together_are_each_measured_alone() -> None:
    model = make_model(1, operations=7)
    graph = model.measurements.graph
    first, second = frozenset([0]), frozenset([0, 1])
    drops = {1: 0.01, 2: 0.2}
    book = AccuracyBook(model, lambda asked: constant(drops[len(lossy_codings(model, asked))]), PATIENT)
    both = Candidate(first, second, ("int8", "int8"))
    assert book.allows(both) is None
    book.measure(both)
    assert book.measured == 3
    assert book.allows(both) is False
    assert book.allows(Candidate(first, frozenset(range(len(graph.operations))), ("int8", "raw"))) is True
    problem = book.narrowed(model.problem(("int8", "int8"), Constraints()), Line(("int8", "int8")))
    crossing = (both.assignment(graph).crossing(graph, 0), both.assignment(graph).crossing(graph, 1))
    assert problem.not_together == (frozenset((link, tensor) for link in (0, 1) for tensor in crossing[link]),)


def test_what_holds_something_too_inaccurate_is_not_measured() -> None:
    tensors = (
        FlowTensor("x", INPUT, (0, 2)),
        FlowTensor("a", 0, (1, 2)),
        FlowTensor("b", 1, (2,)),
        FlowTensor("y", 2, (), is_output=True),
    )
    graph = CutGraph(("a", "b", "y"), tensors)
    rng = np.random.default_rng(0)
    model = CostModel(random_measurements(rng, graph), random_topology(rng, constraints=Constraints()))
    book = AccuracyBook(model, lambda _: constant(0.5), PATIENT)
    everything = frozenset(range(3))
    # x and a cross after the first operation, x, a and b after the second.
    first, second = Candidate(frozenset([0]), everything, ("int8", "raw")), frozenset([0, 1])
    book.measure(first)
    assert book.allows(first) is False
    assert book.allows(Candidate(second, everything, ("int8", "raw"))) is False
    assert book.allows(Candidate(second, second, ("raw", "int8"))) is False
    assert book.allows(Candidate(frozenset(), everything, ("int8", "raw"))) is None
    assert book.allows(Candidate(second, everything, ("zstd", "raw"))) is True
    assert book.measured == 1
