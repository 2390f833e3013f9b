"""Random networks with random measurements, for tests of the planner."""

from __future__ import annotations

import numpy as np

from support.brute_force_cuts import downsets
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Objective, Tiers, TierSpec, Topology
from tercet_cloud.planner.cuts.cut_graph import INPUT, Assignment, CutGraph, FlowTensor
from tercet_cloud.planner.cuts.exact import CutProblem
from tercet_cloud.planner.measuring.coding_table import CodingTable, MenuCodec, TensorCoding

RAW = MenuCodec(title="raw", spec="raw", lossless=True)
MENU = (
    RAW,
    MenuCodec(title="zstd", spec="raw+zstd", lossless=True),
    MenuCodec(title="int8", spec="int8"),
    MenuCodec(title="png", spec="png", lossless=True, image=True),
    MenuCodec(title="jpeg:75", spec="jpeg:75", image=True),
    MenuCodec(title="webp:75", spec="webp:75", image=True),
)


def random_graph(rng: np.random.Generator, operations: int, *, inputs: int = 1) -> CutGraph:
    """A DAG with branches, skips and shared tensors; the last operation and perhaps others give outputs."""
    consumers: list[list[int]] = [[] for _ in range(inputs + operations)]
    for index in range(operations):
        available = inputs + index
        count = int(rng.integers(1, min(3, available) + 1))
        nearby = rng.choice(
            np.arange(max(0, available - 4), available), size=min(count, 4, available), replace=False
        )
        for source in nearby:
            consumers[int(source)].append(index)
    for place in range(inputs):
        if not consumers[place]:
            consumers[place].append(int(rng.integers(0, operations)))
    tensors = [
        FlowTensor(
            f"input{place}" if place < inputs else f"t{place - inputs}",
            INPUT if place < inputs else place - inputs,
            tuple(sorted(set(readers))),
            is_output=not readers or (place >= inputs and rng.random() < 0.05),
        )
        for place, readers in enumerate(consumers)
    ]
    return CutGraph(tuple(f"op{index}" for index in range(operations)), tuple(tensors))


def chain_graph(operations: int) -> CutGraph:
    """input → op0 → … → op(n-1) → output."""
    tensors = [FlowTensor("input0", INPUT, (0,))]
    tensors += [FlowTensor(f"t{i}", i, (i + 1,)) for i in range(operations - 1)]
    tensors.append(FlowTensor(f"t{operations - 1}", operations - 1, (), is_output=True))
    return CutGraph(tuple(f"op{index}" for index in range(operations)), tuple(tensors))


def random_measurements(rng: np.random.Generator, graph: CutGraph) -> ModelMeasurements:
    """Costs of every kind; some tensors that int8 cannot code; image codecs where there is one input."""
    count = len(graph.operations)
    tensors: dict[str, tuple[TensorCoding | None, ...]] = {}
    zstd_loses = rng.random() < 0.5
    for tensor in graph.tensors:
        raw = float(rng.integers(1_000, 600_000))
        image = tensor.producer == INPUT and len(graph.inputs) == 1
        entries: list[TensorCoding | None] = []
        for codec in MENU:
            possible = image if codec.image else codec.title != "int8" or rng.random() > 0.1
            share = {"raw": 1.0, "zstd": 1.02 if zstd_loses else 0.9, "int8": 0.25}.get(codec.title, 0.05)
            times = rng.random(2) * 0.1 + rng.random(2) * (0.0 if codec is RAW else 2.0)
            times += 0.1 if codec.title == "zstd" else 0.0
            entry = TensorCoding(bytes=raw * share, encode_ms=float(times[0]), decode_ms=float(times[1]))
            entries.append(entry if possible else None)
        tensors[tensor.name] = tuple(entries)
    return ModelMeasurements(
        graph=graph,
        op_ms=rng.random((3, count)) * np.array([[4.0], [2.0], [1.0]]),
        session_ms=(0.2, 0.15, 0.1),
        weights_bytes=rng.integers(0, 2_000_000, count).astype(np.float64),
        activation_bytes=rng.integers(1_000, 600_000, count).astype(np.float64),
        runtime_bytes=30e6,
        coding=CodingTable(
            model="random",
            model_sha256="0" * 64,
            samples="random numbers",
            frames=1,
            codecs=MENU,
            tensors=tensors,
            answer_bytes=4_100,
            header_bytes=150,
        ),
    )


def random_topology(
    rng: np.random.Generator, *, objective: Objective = "latency", constraints: Constraints | None = None
) -> Topology:
    def link() -> LinkSpec:
        speed = float(10 ** rng.uniform(0, 2.5))
        return LinkSpec(
            up_mbps=speed,
            down_mbps=speed * float(rng.uniform(1, 4)),
            round_trip_ms=float(rng.uniform(0, 40)),
            overhead_ms=float(rng.uniform(0, 3)),
            cost_per_mb=float(rng.uniform(0, 0.1)),
            transmit_power_w=float(rng.uniform(0, 2)),
        )

    return Topology(
        tiers=Tiers(
            device=TierSpec(slowdown=float(rng.uniform(1, 8)), active_power_w=3.0),
            edge=TierSpec(slowdown=float(rng.uniform(0.5, 3)), cores=4),
            cloud=TierSpec(slowdown=float(rng.uniform(0.1, 1.5)), cores=16),
        ),
        links=Links(device_edge=link(), edge_cloud=link()),
        constraints=constraints or Constraints(max_accuracy_drop=None),
        objective=objective,
    )


def random_candidate(rng: np.random.Generator, graph: CutGraph, codecs: tuple[str, str]) -> Candidate:
    sets = downsets(graph)
    assert sets is not None
    first, second = (sets[int(rng.integers(len(sets)))] for _ in range(2))
    device, until = first & second, first | second
    everything = len(graph.operations)
    return Candidate(
        device,
        until,
        (codecs[0] if len(device) < everything else "raw", codecs[1] if len(until) < everything else "raw"),
    )


def allowed(problem: CutProblem, where: Assignment) -> bool:
    """Whether an assignment keeps a problem's pins, bars, exclusions and limits."""
    graph = problem.graph
    before = (where.before(0), where.before(1))
    if any(pin is not None and pin != cut for pin, cut in zip(problem.pinned, before, strict=True)):
        return False
    if problem.barred is not None and any(problem.barred[i, list(where.crossing(graph, i))].any() for i in (0, 1)):
        return False
    if any(all(x is None or x == cut for x, cut in zip(pair, before, strict=True)) for pair in problem.excluded):
        return False
    return all(limit.cost.of(graph, where) <= limit.bound * (1 + 1e-9) for limit in problem.limits)


def value_of(problem: CutProblem, where: Assignment) -> float:
    """A problem's objective for one assignment."""
    worst = max((stage.of(problem.graph, where) for stage in problem.stages), default=0.0)
    return problem.additive.of(problem.graph, where) + problem.stage_weight * worst
