"""The best cut, against trying all cuts."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import best_by_trying_all, downsets, every_cut, journey, places_of
from support.random_cuts import random_cost, random_graph
from tercet.errors import InfeasibleError, SpecError
from tercet_cloud.planner.cut_graph import INPUT, Assignment, CutGraph, FlowTensor
from tercet_cloud.planner.exact import CutProblem, CutSolution, Limit, solve_cut, solve_cuts
from tercet_cloud.planner.linear_cost import LinearCost

# Of the largest costs, which are below 100 here; HiGHS itself promises 1e-7.
TOLERANCE = 1e-6
KINDS = ("additive", "limits", "stages", "barred", "pinned", "excluded", "all")


def random_problem(seed: int, kind: str, operations: int = 7) -> CutProblem:
    graph = random_graph(seed, operations=operations, skips=seed % 5 / 8)
    random = np.random.default_rng([seed, 1])
    sets = downsets(graph)
    assert sets is not None

    def one_of(items: list[frozenset[int]]) -> frozenset[int]:
        return items[int(random.integers(len(items)))]

    def has(what: str) -> bool:
        return kind == what or (kind == "all" and bool(random.random() < 0.4))

    additive = random_cost(graph, random)
    stages: tuple[LinearCost, ...] = ()
    limits: tuple[Limit, ...] = ()
    barred = None
    pinned: tuple[frozenset[int] | None, frozenset[int] | None] = (None, None)
    excluded: tuple[tuple[frozenset[int] | None, frozenset[int] | None], ...] = ()
    if has("stages"):
        stages = tuple(random_cost(graph, random) for _ in range(int(random.integers(1, 4))))
        additive = LinearCost.zero(graph) if random.random() < 0.5 else additive
    if has("limits"):
        for number in range(int(random.integers(1, 3))):
            cost = random_cost(graph, random)
            device = one_of(sets)
            some = journey(graph, places_of(graph, device, one_of([cut for cut in sets if device <= cut])))
            # A bound that some cut meets exactly, or that perhaps none does.
            bound = some.cost(cost) * float(random.choice([1.0, 0.7, 1.1]))
            limits += (Limit(f"limit {number}", cost, bound, "ms"),)
    if has("barred"):
        barred = random.random((2, len(graph.tensors))) < 0.25
    if has("pinned"):
        device = one_of(sets)
        later = one_of([cut for cut in sets if device <= cut])
        pinned = [(device, None), (None, later), (device, later)][int(random.integers(3))]
    if has("excluded"):
        best = solve_cuts([CutProblem(graph, additive)])[0]
        assert best is not None
        first, second = best.assignment.before(0), best.assignment.before(1)
        excluded = ((first, second), (one_of(sets), None), (None, one_of(sets)))[: int(random.integers(1, 4))]
    return CutProblem(graph, additive, stages, float(random.uniform(0.5, 2)), limits, barred, excluded, pinned)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", range(4))
def test_no_cut_is_better_than_the_one_found(kind: str, block: int) -> None:
    solved = 0
    for seed in range(block * 25, block * 25 + 25):
        problem = random_problem(seed, kind)
        expected = best_by_trying_all(problem)
        found = solve_cuts([problem])[0]
        assert (found is None) == (expected is None), f"seed {seed}"
        if found is not None and expected is not None:
            assert found.value == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), f"seed {seed}"
            assert_is_what_it_says(problem, found)
            solved += 1
    assert solved >= 5


def assert_is_what_it_says(problem: CutProblem, found: CutSolution) -> None:
    """The value, by following a frame; and that every tensor said to cross is sent, and no other."""
    graph = problem.graph
    device, until_cloud = found.assignment.before(0), found.assignment.before(1)
    seen = journey(graph, places_of(graph, device, until_cloud))
    value = seen.cost(problem.additive)
    value += problem.stage_weight * max((seen.cost(stage) for stage in problem.stages), default=0.0)
    assert found.value == pytest.approx(value, rel=1e-9, abs=1e-9)
    crossing = {(link, index) for link in (0, 1) for index in found.assignment.crossing(graph, link)}
    assert crossing == seen.sent
