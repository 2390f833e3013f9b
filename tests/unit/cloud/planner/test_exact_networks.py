"""The best cut of real networks, against all pairs of their downsets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from support.brute_force_cuts import best_by_trying_all
from support.every_downset import EveryDownset
from support.random_cuts import random_cost, random_graph
from tercet.models.store import Store
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.cuts.exact import CutProblem, Limit, solve_cut, solve_cuts
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost
from tercet_cloud.planner.cuts.onnx_cut_graph import cut_graph_of

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
GRAPHS = sorted(FOLDER.glob("light_*.onnx"))
# Inception v2 has the most, 59,862.
MOST_DOWNSETS = 70_000
# Whose pairs are soon tried as tables; all but the two Inceptions.
MOST_IN_TABLES = 700
TOLERANCE = 1e-6


def light_graph(path: Path) -> CutGraph:
    return cut_graph_of(OnnxGraph(path.read_bytes()))


def shaped_cost(graph: CutGraph, seed: int) -> LinearCost:
    """As networks are: tensors shrink towards the end, tiers get faster, links take time to reach."""
    random = np.random.default_rng(seed)
    operations, tensors = len(graph.operations), len(graph.tensors)
    work = random.exponential(1, operations)
    size = random.uniform(0.1, 1, tensors) * np.linspace(40, 2, tensors) * random.uniform(0.3, 3)
    speed = random.uniform(0.05, 1, 3)
    return LinearCost(
        np.stack([work, work * speed[0], work * speed[0] * speed[1]]),
        np.stack([size, size * random.uniform(0.3, 3)]),
        (float(random.uniform(0, 10)), float(random.uniform(0, 40))),
        float(random.uniform(0, 5)),
    )


def test_two_ways_to_try_all_cuts_agree() -> None:
    for seed in range(150):
        graph = random_graph(seed)
        cost = random_cost(graph, np.random.default_rng(seed))
        every = EveryDownset(graph, MOST_DOWNSETS)
        expected = best_by_trying_all(CutProblem(graph, cost))
        assert every.least(cost) == pytest.approx(expected, abs=1e-9)
        assert every.pair_costs(cost).min() == pytest.approx(expected, abs=1e-9)


def test_all_nine_networks_are_here() -> None:
    assert len(GRAPHS) >= 9


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_no_pair_of_downsets_of_a_network_is_better(path: Path) -> None:
    graph = light_graph(path)
    every = EveryDownset(graph, MOST_DOWNSETS)
    costs = [shaped_cost(graph, seed) for seed in range(3 if len(every.sets) > MOST_IN_TABLES else 10)]
    costs.append(random_cost(graph, np.random.default_rng(5)))
    for cost in costs:
        found = solve_cut(CutProblem(graph, cost))
        assert found.solved_as == "lp"
        assert found.value == pytest.approx(every.least(cost), rel=TOLERANCE)


def test_no_pair_of_downsets_of_efficientnet_is_better(model_store: Store) -> None:
    graph = cut_graph_of(OnnxGraph(model_store.model_bytes(model_store.card("efficientnet-lite0"))))
    every = EveryDownset(graph, MOST_DOWNSETS)
    for seed in range(10):
        cost = shaped_cost(graph, seed)
        assert solve_cut(CutProblem(graph, cost)).value == pytest.approx(every.least(cost), rel=TOLERANCE)


@pytest.mark.parametrize(
    "path", [path for path in GRAPHS if "inception" not in path.stem], ids=lambda path: path.stem
)
def test_no_pair_of_downsets_within_limits_is_better(path: Path) -> None:
    graph = light_graph(path)
    every = EveryDownset(graph, MOST_IN_TABLES)
    for seed in range(1 if len(every.sets) > MOST_IN_TABLES / 2 else 3):
        cost, second, third = (shaped_cost(graph, 10 * seed + number) for number in range(3))
        table, second_table, third_table = (every.pair_costs(item) for item in (cost, second, third))
        best = np.unravel_index(int(table.argmin()), table.shape)
        # Bounds that the best cut without limits breaks, if any cut keeps them.
        least = float(second_table.min())
        bounds = least + 0.6 * (float(second_table[best]) - least), _median(third_table[second_table < np.inf])
        kept = (second_table <= bounds[0] * (1 + 1e-9)) & (third_table <= bounds[1] * (1 + 1e-9))
        limits = (Limit("second", second, bounds[0], "ms"), Limit("third", third, bounds[1], "ms"))
        problem = CutProblem(graph, cost, limits=limits)
        for most_tried in (0, MOST_IN_TABLES):
            found = solve_cuts([problem], most_tried=most_tried)[0]
            assert (found is not None) == bool(kept.any())
            if found is not None:
                assert found.value == pytest.approx(float(table[kept].min()), rel=TOLERANCE)


def _median(values: Float64Array) -> float:
    return float(np.median(values[np.isfinite(values)]))


@pytest.mark.parametrize("name", ["bvlc_alexnet", "squeezenet", "resnet50"])
def test_no_pair_of_downsets_has_a_shorter_busiest_stage(name: str) -> None:
    graph = light_graph(FOLDER / f"light_{name}.onnx")
    every = EveryDownset(graph, MOST_IN_TABLES)
    cost = shaped_cost(graph, 3)
    stages = tuple(_only(cost, tier=tier) for tier in range(3)) + tuple(_only(cost, link=link) for link in (0, 1))
    table = np.max([every.pair_costs(stage) for stage in stages], axis=0) * 2 + every.pair_costs(cost) * 0.01
    for most_tried, solved_as in ((0, "milp"), (MOST_IN_TABLES, "all")):
        found = solve_cut(CutProblem(graph, cost * 0.01, stages, stage_weight=2.0), most_tried=most_tried)
        assert found.solved_as == solved_as
        assert found.value == pytest.approx(float(table.min()), rel=TOLERANCE)


def _only(cost: LinearCost, *, tier: int | None = None, link: int | None = None) -> LinearCost:
    """The part of a cost that one tier or link bears."""
    on_tier, over_link = np.zeros_like(cost.on_tier), np.zeros_like(cost.over_link)
    if tier is not None:
        on_tier[tier] = cost.on_tier[tier]
    if link is not None:
        over_link[link] = cost.over_link[link]
    return replace(cost, on_tier=on_tier, over_link=over_link, link_used=(0.0, 0.0), device_used=0.0)
