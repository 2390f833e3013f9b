"""The best cut, against trying all cuts."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import allowed, best_by_trying_all, downsets, journey, places_of
from support.brute_force_cuts import every_cut as every_pair
from support.random_cuts import random_cost, random_graph
from tercet.errors import InfeasibleError, InvariantError, SpecError
from tercet_cloud.planner.cuts.cut_enumeration import every_cut
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor
from tercet_cloud.planner.cuts.exact import CutProblem, CutSolution, Limit, solve_cut, solve_cuts
from tercet_cloud.planner.cuts.linear_cost import LinearCost

# Of the largest costs, which are below 100 here; HiGHS itself promises 1e-7.
TOLERANCE = 1e-6
KINDS = ("additive", "limits", "stages", "barred", "pinned", "excluded", "not together", "all")


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
            seen = journey(graph, places_of(graph, device, one_of([cut for cut in sets if device <= cut])))
            # A bound that some cut meets exactly, or that perhaps none does.
            bound = seen.cost(cost) * float(random.choice([1.0, 0.7, 1.1]))
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
    together: tuple[frozenset[tuple[int, int]], ...] = ()
    if has("not together"):
        best = solve_cuts([CutProblem(graph, additive)])[0]
        assert best is not None
        crossing = [(link, tensor) for link in (0, 1) for tensor in best.assignment.crossing(graph, link)]
        some = [(link, tensor) for link in (0, 1) for tensor in range(len(graph.tensors)) if random.random() < 0.2]
        together = tuple(frozenset(chosen) for chosen in (crossing, crossing[:1], some) if chosen)
    weight = float(random.uniform(0.5, 2))
    return CutProblem(graph, additive, stages, weight, limits, barred, excluded, pinned, together)


@pytest.mark.parametrize("most_tried", [0, 1000], ids=["solver", "all-tried"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", range(2))
def test_no_cut_is_better_than_the_one_found(kind: str, block: int, most_tried: int) -> None:
    solved = 0
    for seed in range(block * 50 + most_tried, block * 50 + most_tried + 50):
        problem = random_problem(seed, kind, operations=5 + seed % 5)
        expected = best_by_trying_all(problem)
        found = solve_cuts([problem], most_tried=most_tried)[0]
        assert (found is None) == (expected is None), f"seed {seed}"
        assert found is None or found.solved_as != ("all" if most_tried == 0 else "milp")
        if found is not None and expected is not None:
            assert found.value == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), f"seed {seed}"
            assert_is_what_it_says(problem, found)
            solved += 1
    assert solved >= 10


def assert_is_what_it_says(problem: CutProblem, found: CutSolution) -> None:
    """The value, by following a frame; that all is kept; and that every tensor said to cross is sent, no other."""
    graph = problem.graph
    device, until_cloud = found.assignment.before(0), found.assignment.before(1)
    seen = journey(graph, places_of(graph, device, until_cloud))
    value = seen.cost(problem.additive)
    value += problem.stage_weight * max((seen.cost(stage) for stage in problem.stages), default=0.0)
    assert found.value == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert allowed(problem, (device, until_cloud), seen)
    crossing = {(link, index) for link in (0, 1) for index in found.assignment.crossing(graph, link)}
    assert crossing == seen.sent


def test_a_linear_program_is_enough_without_limits_and_stages() -> None:
    for seed in range(60):
        for kind in ("additive", "barred", "pinned"):
            found = solve_cuts([random_problem(seed, kind, operations=30)])[0] if seed % 3 == 0 else None
            assert found is None or found.solved_as == "lp"


@pytest.mark.parametrize("most_tried", [0, 1000], ids=["solver", "all-tried"])
def test_excluding_each_answer_gives_all_cuts_in_order_of_value(most_tried: int) -> None:
    graph = random_graph(8, operations=5)
    cost = random_cost(graph, np.random.default_rng(2))
    expected = sorted(journey(graph, places_of(graph, *cuts)).cost(cost) for cuts in every_pair(graph))
    found: list[CutSolution] = []
    while True:
        excluded = tuple((item.assignment.before(0), item.assignment.before(1)) for item in found)
        solution = solve_cuts([CutProblem(graph, cost, excluded=excluded)], most_tried=most_tried)[0]
        if solution is None:
            break
        found.append(solution)
    assert [item.value for item in found] == pytest.approx(expected, abs=TOLERANCE)
    assert len(expected) > 10


def chain(operations: int) -> CutGraph:
    tensors = [FlowTensor("x", INPUT, (0,))]
    tensors += [FlowTensor(f"t{i}", i, (i + 1,)) for i in range(operations - 1)]
    tensors.append(FlowTensor("y", operations - 1, (), is_output=True))
    return CutGraph(tuple(f"op{i}" for i in range(operations)), tuple(tensors))


def test_among_equals_fewer_links_then_fewer_tensors_are_used() -> None:
    graph = chain(4)
    nothing = LinearCost.zero(graph)
    assert not solve_cut(CutProblem(graph, nothing)).assignment.uses(0)
    # Whatever the tier: the cloud is no better than the edge.
    edge_or_cloud = replace(nothing, device_used=1.0)
    assignment = solve_cut(CutProblem(graph, edge_or_cloud)).assignment
    assert assignment.uses(0)
    assert not assignment.uses(1)
    # x is read by both branches, which give two tensors; the second operation has to leave the device.
    tensors = (
        FlowTensor("x", INPUT, (0, 1)),
        FlowTensor("a", 0, (2,)),
        FlowTensor("b", 1, (2,)),
        FlowTensor("y", 2, (), is_output=True),
    )
    branches = CutGraph(("a", "b", "y"), tensors)
    heavy = LinearCost.zero(branches)
    heavy.on_tier[0, 2] = 1.0
    assignment = solve_cut(CutProblem(branches, heavy)).assignment
    assert assignment.crossing(branches, 0) == (0,)


def test_among_equals_fewer_links_are_used_where_all_cuts_are_tried_too() -> None:
    tensors = [FlowTensor(f"x{i}", INPUT, (0,)) for i in range(3)]
    tensors += [FlowTensor("t", 0, (1,)), FlowTensor("y", 1, (), is_output=True)]
    graph = CutGraph(("join", "last"), tuple(tensors))
    nothing = LinearCost.zero(graph)
    nothing.on_tier[0, 1] = 1.0
    # Left are all on the edge (one link, three tensors), and device and cloud (two links, a tensor each).
    joined, everything = frozenset({0}), frozenset({0, 1})
    problem = CutProblem(graph, nothing, stages=(LinearCost.zero(graph),), excluded=((joined, everything),))
    for most_tried in (0, 1000):
        assignment = solve_cut(problem, most_tried=most_tried).assignment
        assert assignment.uses(0)
        assert not assignment.uses(1)


def test_a_wide_network_is_not_tried_whole() -> None:
    sides = 8
    tensors = [FlowTensor("x", INPUT, tuple(range(0, 2 * sides, 2)))]
    for side in range(0, 2 * sides, 2):
        tensors += [FlowTensor(f"a{side}", side, (side + 1,)), FlowTensor(f"b{side}", side + 1, (2 * sides,))]
    tensors.append(FlowTensor("y", 2 * sides, (), is_output=True))
    graph = CutGraph(tuple(f"op{i}" for i in range(2 * sides + 1)), tuple(tensors))
    cost = random_cost(graph, np.random.default_rng(0))
    assert every_cut(graph) is None
    assert solve_cut(CutProblem(graph, cost, stages=(cost,))).solved_as == "milp"


def test_the_same_problem_always_has_the_same_answer() -> None:
    for seed in range(20):
        problem = random_problem(seed, "all")
        first, second = solve_cuts([problem, problem])
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert (first.assignment.at_edge_or_beyond == second.assignment.at_edge_or_beyond).all()
            assert (first.assignment.in_cloud == second.assignment.in_cloud).all()


def infeasible(limits: tuple[Limit, ...], graph: CutGraph) -> str:
    with pytest.raises(InfeasibleError) as caught:
        solve_cut(CutProblem(graph, LinearCost.zero(graph), limits=limits))
    return str(caught.value)


def limit_on(graph: CutGraph, name: str, tier_costs: tuple[float, float, float], bound: float) -> Limit:
    cost = LinearCost.zero(graph)
    cost.on_tier[:] = np.array(tier_costs)[:, None]
    return Limit(name, cost, bound, "MB")


def test_what_binds_is_named_with_the_smallest_bound_that_would_do() -> None:
    graph = chain(4)
    device, edge, cloud = (
        limit_on(graph, name, costs, 1.5)
        for name, costs in (("device memory", (1, 0, 0)), ("edge memory", (0, 1, 0)), ("cloud memory", (0, 0, 1)))
    )
    text = infeasible((device, edge, cloud), graph)
    assert text.startswith("no plan keeps all limits")
    for name in ("device memory", "edge memory", "cloud memory"):
        assert f"{name} 2 MB (now 1.5)" in text
    more = replace(device, bound=2.0)
    assert solve_cut(CutProblem(graph, LinearCost.zero(graph), limits=(more, edge, cloud)))


def test_limits_that_no_single_one_can_make_up_for_are_named_together() -> None:
    graph = chain(4)
    limits = (
        limit_on(graph, "energy", (1, 1, 1), 2.0),
        limit_on(graph, "money", (3, 2, 1), 3.0),
        limit_on(graph, "time", (0, 0, 0), 0.0),
    )
    text = infeasible(limits, graph)
    assert "no single one is to blame" in text
    assert "energy 4 MB (now 2) with money 4 MB (now 3)" in text
    assert "time" not in text


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_the_bounds_in_an_error_are_enough_and_less_is_not(seed: int) -> None:
    graph = random_graph(seed, operations=6)
    random = np.random.default_rng(seed)
    limits = []
    for number in range(2):
        cost = random_cost(graph, random)
        limits.append(Limit(f"limit{number}", cost, float(random.uniform(0, 1)) * float(cost.on_tier.sum()), "J"))
    problem = CutProblem(graph, random_cost(graph, random), limits=tuple(limits))
    try:
        solve_cut(problem)
    except InfeasibleError as error:
        wanted = {int(name): float(bound) for name, bound in re.findall(r"limit(\d) (\S+) J", str(error))}
        assert wanted
        together = "no single one" in str(error)
        for change in [wanted] if together else [{name: bound} for name, bound in wanted.items()]:
            relaxed = [replace(item, bound=change.get(number, item.bound)) for number, item in enumerate(limits)]
            assert best_by_trying_all(replace(problem, limits=tuple(relaxed))) is not None
        for name, bound in {}.items() if together else wanted.items():
            tighter = [*limits]
            tighter[name] = replace(limits[name], bound=bound * 0.99)
            assert best_by_trying_all(replace(problem, limits=tuple(tighter))) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.floats(1e-6, 1e6))
def test_units_do_not_change_the_cut(seed: int, factor: float) -> None:
    graph = random_graph(seed, operations=12)
    cost = random_cost(graph, np.random.default_rng(seed))
    one, other = solve_cuts([CutProblem(graph, cost), CutProblem(graph, cost * factor)])
    assert one is not None
    assert other is not None
    assert other.value == pytest.approx(one.value * factor, rel=TOLERANCE, abs=TOLERANCE * factor)


def test_bars_and_pins_that_contradict_each_other_are_said() -> None:
    graph = chain(2)
    barred = np.zeros((2, 3), bool)
    barred[0, 0] = True
    problem = CutProblem(graph, LinearCost.zero(graph), barred=barred, pinned=(frozenset(), None))
    with pytest.raises(InfeasibleError, match="what may not cross a link"):
        solve_cut(problem)


def test_a_cost_that_is_no_number_is_our_bug() -> None:
    graph = chain(2)
    cost = LinearCost.zero(graph)
    cost.on_tier[0, 0] = np.nan
    with pytest.raises(InvariantError, match="not a finite number"):
        solve_cut(CutProblem(graph, cost))


def test_a_tensor_that_pays_for_crossing_is_our_bug() -> None:
    tensors = (FlowTensor("x", INPUT, (0, 1)), FlowTensor("a", 0, (), True), FlowTensor("b", 1, (), True))
    graph = CutGraph(("a", "b"), tensors)
    cost = LinearCost.zero(graph)
    cost.over_link[0, 0] = -1.0
    with pytest.raises(InvariantError, match="must not be negative"):
        solve_cut(CutProblem(graph, cost))


def test_a_graph_without_operations_is_refused() -> None:
    graph = CutGraph((), (FlowTensor("x", INPUT, (), is_output=True),))
    with pytest.raises(SpecError, match="nothing to cut"):
        solve_cut(CutProblem(graph, LinearCost.zero(graph)))
