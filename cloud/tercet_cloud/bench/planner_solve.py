"""`tercet bench planner`, first part: how long it takes to find plans, on real networks with made-up costs.

Costs are seeded random numbers shaped like measured ones (tensors that shrink, tiers that get faster, codecs that
trade bytes for time): how long solving takes hangs on the network and on how the costs compete, not on what they
are. Accuracy is made up as well and takes no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx

from tercet.models.store import Store
from tercet_cloud.models.catalog import fetch_model
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.conditions import ConditionRange
from tercet_cloud.planner.costs.cost_model import CostModel, ModelMeasurements
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Objective, Tiers, TierSpec, Topology
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor
from tercet_cloud.planner.cuts.exact import solve_cut, solve_cuts
from tercet_cloud.planner.cuts.onnx_cut_graph import cut_graph_of
from tercet_cloud.planner.measuring.coding_table import CodingTable, MenuCodec, TensorCoding
from tercet_cloud.planner.searching.accuracy_book import AccuracyBook
from tercet_cloud.planner.searching.menu_search import MenuSearch
from tercet_cloud.planner.table.plan_table import PlanTable, make_plan_table

GOALS = {"one_pair_ms": 20.0, "menu_ms": 1000.0, "plan_table_s": 10.0}
GENERATED_OPERATIONS = 700
MODEL = "efficientnet-lite0"
_SOLVES = 9
_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# Title, part of the raw bytes, ms to code a MB, agreement that is made up for it; 1 for lossless.
_MENU = (
    ("raw", 1.0, 0.0, 1.0),
    ("zstd:1", 0.85, 5.0, 1.0),
    ("fp16", 0.5, 0.3, 0.999),
    ("int8:channel", 0.25, 0.4, 0.99),
    ("int8:channel+zstd:1", 0.17, 2.0, 0.99),
    ("int4:channel", 0.125, 0.8, 0.97),
    ("int4:channel+zstd:1", 0.08, 2.0, 0.97),
    ("int2:channel+zstd:1", 0.03, 2.0, 0.8),
)


def measure_solving(store: Store) -> dict[str, Any]:
    """Times by network, the plan table of Lite0 for two objectives, and the goals.

    Times are in ms: `one_pair_ms` one codec pair (median), `menu_ms` all 64 pairs one after another,
    `best_of_menu_ms` the best of them by bounds.
    """
    networks = {name: _time_network(graph) for name, graph in _networks(store)}
    lite = dict(_networks(store, only=MODEL))[MODEL]
    return {
        "costs": "made up; see tercet_cloud.bench.planner_solve",
        "goals": GOALS,
        "networks": networks,
        "plan_table": {"model": MODEL, **_time_table(lite, "latency")},
        "plan_table_throughput": {"model": MODEL, **_time_table(lite, "throughput")},
    }


def _networks(store: Store, only: str | None = None) -> Iterator[tuple[str, CutGraph]]:
    if only is None:
        yield f"generated-{GENERATED_OPERATIONS}", generated_network(GENERATED_OPERATIONS)
    card = fetch_model(store, MODEL)
    yield MODEL, cut_graph_of(OnnxGraph(store.model_bytes(card)))
    if only is None:
        for path in sorted(_LIGHT.glob("light_*.onnx")):
            yield path.stem, cut_graph_of(OnnxGraph(path.read_bytes()))


def _time_network(graph: CutGraph) -> dict[str, float]:
    model = CostModel(made_up_measurements(graph), made_up_topology())
    constraints = model.topology.constraints
    titles = [codec.title for codec in model.measurements.coding.codecs]
    every = [model.problem((first, second), constraints) for first in titles for second in titles]
    solve_cut(every[0])
    singles = [_milliseconds(partial(solve_cut, problem)) for problem in every[:: len(every) // _SOLVES]]
    book = AccuracyBook(model, made_up_accuracy, 0)
    return {
        "operations": len(graph.operations),
        "one_pair_ms": round(median(singles), 2),
        "menu_ms": round(_milliseconds(lambda: solve_cuts(every)), 1),
        "best_of_menu_ms": round(_milliseconds(lambda: MenuSearch(model, constraints, book).best()), 1),
    }


def _time_table(graph: CutGraph, objective: Objective) -> dict[str, Any]:
    measurements = made_up_measurements(graph)
    found: list[PlanTable] = []
    spent_ms = _milliseconds(
        lambda: found.append(
            make_plan_table(
                lambda topology: CostModel(measurements, topology),
                made_up_topology().model_copy(update={"objective": objective}),
                ConditionRange(),
                made_up_accuracy,
            )
        )
    )
    (table,) = found
    return {
        "conditions": len(table.cells),
        "without_plan": sum(cell.plan is None for cell in table.cells),
        "best_plans": len(table.pool),
        "plans": len(table.plans),
        "worst_gap": round(table.worst_gap, 4),
        "measured": table.measured,
        "stopped": table.stopped,
        "given_up": list(table.given_up),
        "plan_table_s": round(spent_ms / 1e3, 2),
    }


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def generated_network(operations: int, seed: int = 0) -> CutGraph:
    """Blocks of up to four parallel branches with a skip around them, one after another."""
    random = np.random.default_rng(seed)
    readers: list[list[int]] = [[]]
    producers = [INPUT]
    entry = 0

    def add(*reads: int) -> int:
        operation = len(producers) - 1
        for tensor in reads:
            readers[tensor].append(operation)
        producers.append(operation)
        readers.append([])
        return operation + 1

    while len(producers) <= operations - 20:
        ends = []
        for _ in range(int(random.integers(1, 5))):
            here = entry
            for _ in range(int(random.integers(1, 5))):
                here = add(here)
            ends.append(here)
        entry = add(*ends, entry)
    while len(producers) <= operations:
        entry = add(entry)
    tensors = tuple(
        FlowTensor(f"t{index}", producer, tuple(consumers), is_output=index == entry)
        for index, (producer, consumers) in enumerate(zip(producers, readers, strict=True))
    )
    return CutGraph(tuple(f"op{index}" for index in range(operations)), tensors)


def made_up_measurements(graph: CutGraph, seed: int = 0) -> ModelMeasurements:
    """A network of about 40 ms on the device's profile, and a menu of eight codecs."""
    random = np.random.default_rng(seed)
    count = len(graph.operations)
    work_ms = random.exponential(1, count)
    work_ms *= 40 / work_ms.sum()
    sizes = random.choice([0.2, 0.5, 1, 1, 2], len(graph.tensors)) * np.geomspace(600e3, 20e3, len(graph.tensors))
    tensors = dict[str, tuple[TensorCoding | None, ...]]()
    for tensor, size in zip(graph.tensors, sizes, strict=True):
        entries = []
        for _, share, ms_per_mb, _ in _MENU:
            coding_ms = ms_per_mb * size / 1e6 * random.uniform(0.8, 1.2)
            coded = size * share * (random.uniform(0.6, 1.1) if 0 < share < 1 else 1)
            entries.append(TensorCoding(bytes=coded, encode_ms=coding_ms, decode_ms=coding_ms / 2))
        tensors[tensor.name] = tuple(entries)
    return ModelMeasurements(
        graph=graph,
        op_ms=np.stack([work_ms, work_ms, work_ms]),
        session_ms=(0.1, 0.1, 0.1),
        weights_bytes=random.exponential(50e3, count),
        activation_bytes=sizes[:count] if len(sizes) >= count else np.resize(sizes, count),
        runtime_bytes=60e6,
        coding=CodingTable(
            model="made-up",
            model_sha256="0" * 64,
            samples="made-up numbers",
            frames=1,
            codecs=tuple(
                MenuCodec(title=title, spec=title, lossless=agreement == 1) for title, _, _, agreement in _MENU
            ),
            tensors=tensors,
            answer_bytes=4100,
            header_bytes=150,
        ),
    )


def made_up_topology() -> Topology:
    """A slow device, a middling edge and a fast cloud, over links as in a hall with a wide-area uplink."""
    return Topology(
        tiers=Tiers(device=TierSpec(slowdown=4.0), edge=TierSpec(slowdown=1.0), cloud=TierSpec(slowdown=0.3)),
        links=Links(
            device_edge=LinkSpec(up_mbps=30, down_mbps=30, round_trip_ms=4, overhead_ms=1),
            edge_cloud=LinkSpec(up_mbps=50, down_mbps=100, round_trip_ms=30, overhead_ms=1.5),
        ),
        constraints=Constraints(max_accuracy_drop=0.05),
    )


def made_up_accuracy(candidate: Candidate) -> MeasuredAccuracy:
    """What the menu says of each codec, wherever it is cut."""
    agreements = {title: agreement for title, _, _, agreement in _MENU}
    kept = float(np.prod([agreements[title] for title in candidate.codecs]))
    return MeasuredAccuracy("made up", kept, kept, 1.0, 1 - kept, 1 - kept, frames=1)
