"""The plan table: near the best plan everywhere, with cuts that nest, and no more plans than that takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from support.onnx_models import parse
from support.random_cuts import random_graph
from support.tensor_accuracy import TensorAccuracy
from tercet.errors import InfeasibleError
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet_cloud.bench.planner_solve import made_up_measurements, made_up_topology
from tercet_cloud.models.boundaries import boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.conditions import ConditionRange, LinkCondition
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Objective, Topology
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor
from tercet_cloud.planner.cuts.linear_cost import Float64Array
from tercet_cloud.planner.cuts.onnx_cut_graph import cut_graph_of
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.measuring.coding_table import TensorCoding
from tercet_cloud.planner.searching.accuracy_book import AccuracyBook
from tercet_cloud.planner.searching.menu_search import MenuSearch
from tercet_cloud.planner.table.plan_table import PlanTable, make_plan_table, plan_rows

GRID = ConditionRange(
    device_edge_mbps=(1, 10, 100),
    edge_cloud_mbps=(3, 100),
    edge_cloud_round_trip_ms=(),
    deadline_ms=(100, 2000),
)
OBJECTIVES: list[Objective] = ["latency", "throughput", "energy", "bytes"]


def two_ways(length: int) -> CutGraph:
    """Two inputs, each through a chain of its own, then joined: cuts of one chain cross cuts of the other."""
    tensors = [FlowTensor("x", INPUT, (0,)), FlowTensor("z", INPUT, (length,))]
    for start in (0, length):
        for i in range(start, start + length):
            tensors.append(FlowTensor(f"t{i}", i, (i + 1 if i + 1 < start + length else 2 * length,)))
    tensors.append(FlowTensor("y", 2 * length, (), is_output=True))
    return CutGraph(tuple(f"op{i}" for i in range(2 * length + 1)), tuple(tensors))


class Case:
    """A network with made-up measurements; with `uneven` ones every tier suits other operations."""

    def __init__(
        self,
        seed: int,
        objective: Objective = "latency",
        graph: CutGraph | None = None,
        *,
        uneven: bool = False,
        worst: float = 0.04,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.graph = graph or random_graph(seed, operations=9, skips=0.15)
        self.measurements = made_up_measurements(self.graph, seed)
        if uneven:
            op_ms = self.measurements.op_ms
            uneven_ms = op_ms * rng.exponential(1, op_ms.shape) * rng.choice([0.05, 1, 5], op_ms.shape)
            self.measurements = replace(self.measurements, op_ms=uneven_ms)
        constraints = Constraints(max_accuracy_drop=[0.05, None, 0.02][seed % 3], private_input=seed % 4 == 0)
        self.topology = made_up_topology().model_copy(update={"objective": objective, "constraints": constraints})
        self.accuracy = TensorAccuracy(self.model(self.topology), seed, worst=worst)

    def model(self, topology: Topology) -> CostModel:
        return CostModel(self.measurements, topology)

    def table(self, conditions: ConditionRange = GRID, *, slack: float = 0.05, most: int = 64) -> PlanTable:
        return make_plan_table(self.model, self.topology, conditions, self.accuracy, slack=slack, max_measured=most)


def check(case: Case, table: PlanTable) -> None:
    """Everything a table promises, found out anew."""
    book = AccuracyBook(case.model(case.topology), case.accuracy.of, 10**6)
    for cell in table.cells:
        topology = cell.condition.links.applied_to(case.topology)
        constraints = topology.constraints.model_copy(update={"deadline_ms": cell.condition.deadline_ms})
        model = case.model(topology.model_copy(update={"constraints": constraints}))
        search = MenuSearch(model, constraints, book)
        while (best := search.best()) is not None and not book.allows(best[0]):
            book.measure(best[0])
        if best is None:
            assert (cell.best, cell.plan, cell.gap) == (None, None, None)
            continue
        assert cell.best == pytest.approx(best[1], rel=1e-6)
        assert cell.plan is not None
        assert cell.gap is not None
        plan = table.plans[cell.plan]
        prediction = model.predict(plan)
        assert model.broken(prediction, plan, constraints) is None
        assert model.value(prediction) == pytest.approx(best[1] * (1 + cell.gap), rel=1e-6)
        assert cell.gap <= table.worst_gap
        assert book.allows(plan) is not False
        allowed = case.topology.constraints.max_accuracy_drop
        assert allowed is None or case.accuracy.of(plan).drop_bound <= allowed + 1e-9
    assert nest(table.plans)


def gaps_of(case: Case, table: PlanTable, plans: tuple[Candidate, ...]) -> Float64Array:
    """(conditions with a plan, plans)"""
    met = [cell for cell in table.cells if cell.best is not None]
    gaps = np.full((len(met), len(plans)), np.inf)
    for row, cell in enumerate(met):
        model = case.model(cell.condition.links.applied_to(case.topology))
        for place, plan in enumerate(plans):
            prediction = model.predict(plan)
            in_time = prediction.latency_ms <= (cell.condition.deadline_ms or np.inf)
            if in_time and model.broken(prediction, plan, case.topology.constraints) is None:
                gaps[row, place] = model.value(prediction) / (cell.best or 1) - 1
    return gaps


def nest(plans: Iterable[Candidate]) -> bool:
    cuts = sorted({cut for plan in plans for cut in (plan.device, plan.until_cloud)}, key=len)
    return all(smaller < larger for smaller, larger in pairwise(cuts))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_condition_has_a_plan_near_the_best_that_keeps_everything(objective: Objective) -> None:
    plans = 0
    for seed in (0, 4):
        case = Case(seed, objective)
        table = case.table()
        check(case, table)
        assert table.worst_gap <= 0.05 or table.crossing_pairs
        plans += len(table.plans)
    assert plans > 1


def test_no_smaller_part_of_the_pool_would_do() -> None:
    tried = 0
    for seed in range(6):
        case = Case(seed)
        table = case.table()
        if {*table.plans} <= {*table.pool} and len(table.plans) > 1:
            gaps = gaps_of(case, table, table.pool)
            smaller = combinations(range(len(table.pool)), len(table.plans) - 1)
            assert all(gaps[:, chosen].min(axis=1).max() > 0.05 for chosen in map(list, smaller))
            tried += 1
    assert tried >= 3


WIDE_GRID = ConditionRange(
    device_edge_mbps=(1, 10, 100, 1000),
    edge_cloud_mbps=(3, 30, 300),
    edge_cloud_round_trip_ms=(),
    deadline_ms=(),
)


def crossing_case(seed: int) -> Case:
    return Case(seed, graph=two_ways(1 + seed % 3), uneven=True, worst=0)


@pytest.mark.parametrize("seed", [11, 14, 17, 18, 38])
def test_where_the_best_cuts_cross_each_other_no_nested_part_of_the_pool_is_nearer(seed: int) -> None:
    case = crossing_case(seed)
    table = case.table(WIDE_GRID)
    check(case, table)
    assert table.crossing_pairs
    gaps = gaps_of(case, table, table.pool)
    sets = chain.from_iterable(combinations(range(len(table.pool)), n) for n in range(1, len(table.pool) + 1))
    nested = [list(chosen) for chosen in sets if nest(table.pool[place] for place in chosen)]
    nearest = min(float(gaps[:, chosen].min(axis=1).max()) for chosen in nested)
    assert table.worst_gap <= max(nearest, 0.05) * (1 + 1e-9)


def test_meets_and_joins_of_cuts_that_cross_can_keep_the_gap_small() -> None:
    table = crossing_case(38).table(WIDE_GRID)
    assert not {*table.plans} <= {*table.pool}
    assert table.worst_gap <= 0.05


def test_a_gap_that_nested_cuts_cannot_close_is_said() -> None:
    """On a slow first link one chain belongs on the device, on a slow second link the other one on the edge."""
    graph = two_ways(1)
    case = Case(1, graph=graph)
    tensors = {name: entries[:1] for name, entries in case.measurements.coding.tensors.items()}
    sizes = {"x": 400e3, "z": 400e3, "t0": 1e3, "t1": 1e3, "y": 1e3}
    for name, size in sizes.items():
        tensors[name] = (TensorCoding(bytes=size, encode_ms=0, decode_ms=0),)
    coding = case.measurements.coding
    coding = coding.model_copy(update={"codecs": coding.codecs[:1], "tensors": tensors})
    op_ms = np.array([[50.0, 1000, 1000], [1000, 20, 1000], [0, 0, 0]])
    case.measurements = replace(case.measurements, op_ms=op_ms, session_ms=(0, 0, 0), coding=coding)
    link = LinkSpec(up_mbps=100, down_mbps=100)
    case.topology = Topology(links=Links(device_edge=link, edge_cloud=link))
    for speeds in (((10,), (1000,)), ((1000,), (100,))):
        grid = ConditionRange(
            device_edge_mbps=speeds[0], edge_cloud_mbps=speeds[1], edge_cloud_round_trip_ms=(), deadline_ms=()
        )
        assert case.table(grid).worst_gap == 0
    both = ConditionRange(
        device_edge_mbps=(10, 1000), edge_cloud_mbps=(100, 1000), edge_cloud_round_trip_ms=(), deadline_ms=()
    )
    table = case.table(both)
    check(case, table)
    assert table.crossing_pairs
    assert table.worst_gap > 0.05


def test_plans_are_in_order_of_use_and_every_one_is_used() -> None:
    for seed in range(6):
        table = Case(seed).table()
        used = [sum(cell.plan == place for cell in table.cells) for place in range(len(table.plans))]
        assert used == sorted(used, reverse=True)
        assert used[-1] > 0


def test_a_wider_slack_needs_no_more_plans() -> None:
    for seed in (1, 2):
        counts = [len(Case(seed).table(slack=slack).plans) for slack in (0.0, 0.05, 0.5, 10.0)]
        assert counts == sorted(counts, reverse=True)


def test_accuracy_is_measured_for_plans_that_would_be_used_only_and_never_twice() -> None:
    for seed in (0, 3, 5):
        case = Case(seed)
        table = case.table()
        assert table.measured == len(case.accuracy.measured) == len(set(case.accuracy.measured))
        assert not table.stopped
        lossless = [codec.title for codec in case.measurements.coding.codecs if codec.lossless]
        for plan, accuracy in zip(table.plans, table.accuracies, strict=True):
            assert (accuracy is None) == all(title in lossless for title in plan.codecs)


def test_without_measurements_left_only_what_loses_nothing_or_was_measured_is_used() -> None:
    case = Case(3)
    table = case.table(most=0)
    assert table.stopped
    assert not case.accuracy.measured
    assert {*table.accuracies} == {None}
    some = Case(3).table(most=2)
    assert some.measured <= 2
    assert all(
        one.best >= full.best for one, full in zip(table.cells, Case(3).table().cells, strict=True) if one.best
    )


def test_deadlines_that_no_plan_meets_are_said() -> None:
    case = Case(2)
    table = case.table(GRID.model_copy(update={"deadline_ms": (0.001, 10_000.0)}))
    assert [cell.plan is None for cell in table.cells] == [True, False] * (len(table.cells) // 2)
    with pytest.raises(InfeasibleError, match="under any condition"):
        case.table(GRID.model_copy(update={"deadline_ms": (0.001,)}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ({"deadline_ms": (100, 50)}, "deadline_ms must ascend: 100, 50"),
        ({"device_edge_mbps": (1, 1)}, "must ascend"),
        ({"device_edge_mbps": (0,)}, "greater than 0"),
        ({"speed": (1,)}, "Extra inputs"),
        ({"deadline_ms": tuple(range(1, 100))}, "7128 conditions in all; 5000 is the most"),
    ],
)
def test_impossible_ranges_are_refused(text: dict[str, tuple[float, ...]], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ConditionRange(**text)


def test_a_condition_changes_the_links_alone_and_the_way_back_in_proportion() -> None:
    topology = Topology(
        links=Links(
            device_edge=LinkSpec(up_mbps=10, down_mbps=40, overhead_ms=2),
            edge_cloud=LinkSpec(up_mbps=50, down_mbps=100, round_trip_ms=30),
        ),
    )
    changed = LinkCondition(5, 100, 3, 60).applied_to(topology)
    assert changed.links.device_edge == LinkSpec(up_mbps=5, down_mbps=20, round_trip_ms=3, overhead_ms=2)
    assert changed.links.edge_cloud == LinkSpec(up_mbps=100, down_mbps=200, round_trip_ms=60)
    assert changed.tiers == topology.tiers
    unchanged = ConditionRange(device_edge_mbps=(), edge_cloud_mbps=(), edge_cloud_round_trip_ms=(), deadline_ms=())
    (only,) = unchanged.link_conditions(topology)
    assert only.applied_to(topology) == topology
    assert unchanged.deadlines(topology) == (None,)


TWO_WAYS = """ways (float[1, 64] x) => (float[1, 64] y) {
    a = Relu(x)
    b = Exp(a)
    c = Neg(b)
    p = Tanh(x)
    q = Sigmoid(p)
    r = Neg(q)
    s = Add(c, r)
    y = Relu(s)
}"""


def test_a_table_is_a_deployment_with_blocks_that_all_plans_share(tmp_path: Path) -> None:
    onnx_bytes = parse(TWO_WAYS)
    graph = OnnxGraph(onnx_bytes)
    deployed = 0
    for seed in range(4):
        case = Case(seed, graph=cut_graph_of(graph), uneven=True)
        table = case.table()
        store = Store(tmp_path / str(seed))
        card = ModelCard(
            name="ways",
            task="other",
            licence="Apache-2.0",
            onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
            input=TensorInput(),
            output="y",
        )
        store.add_model(card, onnx_bytes)
        rows = plan_rows(table, case.model(case.topology))
        deployment = deploy_plans(store, card, graph, case.measurements.coding, rows)
        manifest = store.manifest(deployment.model)
        assert [plan.id for plan in deployment.plans] == [f"p{i + 1}" for i in range(len(table.plans))]
        names = [tuple(tensor.name for tensor in boundary.tensors) for boundary in manifest.boundaries]
        assert tuple(names[1:-1]) == table.blocks
        assert all(boundary_of_tensors(graph, block).tensors == block for block in table.blocks)
        deployed += len(table.blocks) > 1
    assert deployed
