"""Plan reports made by hand: real graphs or made ones, priced by invented but orderly figures.

Only good for looking at reports; nothing here is measured, and `emulation` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import accumulate, product

import numpy as np

from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor
from tercet_cloud.planner.report.plan_report import CutPoint, DrawnOperation, MapCell, PlanReport, PlanRow

SLOWER = (12.0, 3.0, 0.5)
CODECS: Mapping[str, float] = {"raw": 1.0, "fp16": 0.5, "int8+zstd:3": 0.19}
_POSITIONS = 40


@dataclass(frozen=True)
class MadeNetwork:
    """A network to report on; `op_ms` are (operations,) on a machine of speed 1."""

    name: str
    graph: CutGraph
    op_types: tuple[str, ...]
    op_ms: tuple[float, ...]
    weights_bytes: tuple[int, ...]
    tensor_bytes: dict[str, int]

    @cached_property
    def positions(self) -> list[int]:
        """Lengths of prefixes of the order at which the made search cuts."""
        count = len(self.graph.operations)
        return sorted({round(count * step / _POSITIONS) for step in range(_POSITIONS + 1)})

    @cached_property
    def crossing_bytes(self) -> list[int]:
        """Raw bytes that cross behind the first 0, 1, … operations; none behind the last."""
        count = len(self.graph.operations)
        alive = [0] * (count + 1)
        for tensor in self.graph.tensors:
            last = count - 1 if tensor.is_output else max(tensor.consumers)
            for position in range(tensor.producer + 1, last + 1):
                alive[position] += self.tensor_bytes[tensor.name]
        return alive

    @cached_property
    def ms_before(self) -> list[float]:
        return [0.0, *accumulate(self.op_ms)]


def onnx_network(name: str) -> MadeNetwork:
    """One of the graphs in onnx's own test data, e.g. "squeezenet"; times and sizes from its shapes."""
    path = files("onnx").joinpath(f"backend/test/data/light/light_{name}.onnx")
    onnx = OnnxGraph(path.read_bytes())
    tensors = [
        FlowTensor(tensor, onnx.producer.get(tensor, INPUT), onnx.consumers.get(tensor, ()), tensor in onnx.outputs)
        for tensor in (*onnx.inputs, *onnx.producer)
        if onnx.consumers.get(tensor) or tensor in onnx.outputs
    ]
    sizes = {tensor.name: _size(onnx, tensor.name) for tensor in tensors}
    heavy = {"Conv": 30.0, "Gemm": 40.0}
    times = [
        heavy.get(item.node.op_type, 1.0) * sum(sizes.get(name, 0) for name in item.gives) / 1e7 + 0.003
        for item in onnx.operations
    ]
    weights = [
        sum(_size(onnx, name) for name in item.constants) if item.node.op_type in heavy else 256
        for item in onnx.operations
    ]
    names = tuple(item.node.name or item.gives[0] for item in onnx.operations)
    types = tuple(item.node.op_type for item in onnx.operations)
    return MadeNetwork(name, CutGraph(names, tuple(tensors)), types, tuple(times), tuple(weights), sizes)


def _size(onnx: OnnxGraph, tensor: str) -> int:
    shape = onnx.types.shape(tensor) or ()
    return 4 * int(np.prod([axis or 1 for axis in shape]))


def branching_network(operations: int, *, seed: int = 0) -> MadeNetwork:
    """Modules of one to four parallel branches, some with a skip, as in large vision networks."""
    rng = np.random.default_rng(seed)
    names: list[str] = []
    types: list[str] = []
    reads: list[list[int]] = []

    def add(kind: str, *sources: int) -> int:
        names.append(f"/features/{len(names)}/{kind}")
        types.append(kind)
        reads.append(list(sources))
        return len(names) - 1

    last = add("Conv", INPUT)
    while len(names) < operations:
        ends = []
        for _ in range(int(rng.integers(1, 5))):
            end = last
            for kind in ("Conv", "Relu") * int(rng.integers(1, 4)):
                end = add(kind, end)
            ends.append(end)
        join = add("Concat", *ends) if len(ends) > 1 else ends[0]
        last = add("Add", join, last) if rng.random() < 0.5 else join
    count = len(names)
    consumers: dict[int, list[int]] = {}
    for reader, sources in enumerate(reads):
        for source in dict.fromkeys(sources):
            consumers.setdefault(source, []).append(reader)
    tensors = [FlowTensor("image", INPUT, tuple(consumers[INPUT]))]
    tensors += [
        FlowTensor(f"{names[index]}_output_0", index, tuple(consumers.get(index, ())), index == last)
        for index in range(count)
        if index == last or index in consumers
    ]
    size = np.geomspace(3e6, 4e3, count) * rng.uniform(0.6, 1.4, count)
    sizes = {tensor.name: 602_112 if tensor.producer == INPUT else int(size[tensor.producer]) for tensor in tensors}
    times = tuple(
        float(3.0 * value / 1e7 + 0.01) if kind == "Conv" else 0.004
        for value, kind in zip(size, types, strict=True)
    )
    weights = tuple(int(rng.integers(1e4, 4e5)) if kind == "Conv" else 0 for kind in types)
    return MadeNetwork(
        f"branching-{operations}", CutGraph(tuple(names), tuple(tensors)), tuple(types), times, weights, sizes
    )


def predict(
    network: MadeNetwork,
    device: int,
    until_cloud: int,
    codecs: tuple[str, str],
    *,
    mbps: float = 20.0,
    round_trip_ms: float = 10.0,
) -> Prediction:
    """Cuts after the first `device` and the first `until_cloud` operations."""
    count = len(network.graph.operations)
    spans = ((0, device), (device, until_cloud), (until_cloud, count))
    before = network.ms_before
    compute = [(before[b] - before[a]) * slower for (a, b), slower in zip(spans, SLOWER, strict=True)]
    sizes, links = [], []
    for position, codec, (speed, trip) in zip(
        (device, until_cloud), codecs, ((mbps, round_trip_ms), (100.0, 30.0)), strict=True
    ):
        used = position < count
        size = network.crossing_bytes[position] * CODECS.get(codec, 0.05) + 120 if used else 0.0
        sizes.append(size)
        links.append(size * 8 / (speed * 1e3) + trip if used else 0.0)
    stages = (compute[0], links[0], compute[1], links[1], compute[2])
    return Prediction(
        *stages,
        sizes[0],
        sizes[1],
        device_energy_mj=compute[0] * 4,
        device_memory_bytes=sum(network.weights_bytes[:device]) + 6.2e7,
        cost=sizes[1] * 1e-9,
        bottleneck_ms=max(stages),
    )


def plan_row(
    network: MadeNetwork, name: str, device: int, until_cloud: int, codecs: tuple[str, str], note: str = ""
) -> PlanRow:
    prediction = predict(network, device, until_cloud, codecs)
    lossy = sum(codec not in ("raw", "png") for codec in codecs)
    accuracy = MeasuredAccuracy(
        "top-1 agreement", 1 - 0.008 * lossy, 1 - 0.03 * lossy, 1.0, 0.008 * lossy, 0.03 * lossy, 120
    )
    broken = "device memory: 91.4 MB, allowed 80 MB" if prediction.device_memory_bytes > 8e7 else None
    candidate = Candidate(frozenset(range(device)), frozenset(range(until_cloud)), codecs)
    return PlanRow(name, candidate, prediction, prediction.latency_ms, accuracy, broken, note)


def best_cut(network: MadeNetwork, mbps: float, round_trip_ms: float) -> tuple[int, int, tuple[str, str]]:
    def latency(choice: tuple[int, int, tuple[str, str]]) -> float:
        return predict(network, *choice, mbps=mbps, round_trip_ms=round_trip_ms).latency_ms

    count = len(network.graph.operations)
    pairs = [(a, b) for a in network.positions for b in network.positions if a <= b]
    return min(
        (
            (a, b, (first if a < count else "raw", second if b < count else "raw"))
            for (a, b), first, second in product(pairs[:: max(1, len(pairs) // 120)], CODECS, CODECS)
        ),
        key=latency,
    )


def made_report(
    network: MadeNetwork, *, cut: tuple[int, int, tuple[str, str]] | None = None, cells: int = 9
) -> PlanReport:
    """A whole report; `cut` is the chosen plan, by default the best of those tried."""
    graph, count = network.graph, len(network.graph.operations)
    chosen = plan_row(network, "chosen", *(cut or best_cut(network, 20.0, 10.0)))
    baselines = (
        plan_row(network, "all on the device", count, count, ("raw", "raw"), "no link is used"),
        plan_row(network, "all on the edge", 0, count, ("raw", "raw"), "the raw input crosses one link"),
        plan_row(network, "all in the cloud, raw", 0, 0, ("raw", "raw")),
        plan_row(network, "all in the cloud, PNG", 0, 0, ("png", "png")),
        plan_row(network, "all in the cloud, JPEG", 0, 0, ("jpeg:90", "jpeg:90"), "the edge hands the photo on"),
        plan_row(network, "best two-tier", count // 2, count, ("int8+zstd:3", "raw")),
        plan_row(
            network, "Neurosurgeon-style", count // 3, count // 3, ("raw", "raw"), "Kang et al. 2017, chains only"
        ),
        plan_row(network, "DADS-style", count // 2, count // 2, ("raw", "raw"), "Hu et al. 2019, one min-cut"),
    )
    considered = tuple(
        plan_row(network, f"candidate {number}", a, b, (first if a < count else "raw", "raw"))
        for number, (a, b, first) in enumerate(product(network.positions[::4], network.positions[::4], CODECS))
        if a <= b
    )
    front = _front((chosen, *baselines, *considered))
    curve = tuple(
        CutPoint(
            Candidate(frozenset(range(at)), frozenset(range(max(at, count - 4))), ("int8+zstd:3", "raw")).crossing(
                graph, 0
            )
            or (graph.tensors[-1].name,),
            predict(network, at, max(at, count - 4), ("int8+zstd:3", "raw")),
            ("int8+zstd:3", "raw"),
        )
        for at in network.positions
    )
    plans: dict[tuple[int, int, tuple[str, str]], int] = {}
    map_cells = []
    for mbps, trip in product(np.geomspace(0.5, 500, cells), np.geomspace(1, 300, max(cells - 2, 1))):
        best = best_cut(network, float(mbps), float(trip))
        number = plans.setdefault(best, len(plans))
        latency = predict(network, *best, mbps=float(mbps), round_trip_ms=float(trip)).latency_ms
        map_cells.append(MapCell(float(mbps), float(trip), number, latency))
    factor = CODECS.get(chosen.candidate.codecs[0], 0.05)
    return PlanReport(
        model=network.name,
        circumstances=(
            "Figures made up for a test: times follow from the sizes of the tensors.",
            "Device: a profile of this machine × 12 (stated factor, emulated).",
            "Links: 20 Mbit/s and 10 ms, 100 Mbit/s and 30 ms, as stated in the topology.",
        ),
        objective="latency, ms",
        chosen=chosen,
        baselines=baselines,
        considered=considered,
        curve=curve,
        pareto=front,
        map_plans=tuple(plan_row(network, f"plan {number}", *plan) for plan, number in plans.items()),
        map_cells=tuple(map_cells),
        explanation=(
            "The chosen plan crosses where the network is narrow.",
            "The runner-up sends twice the bytes.",
        ),
        graph=graph,
        operations=tuple(
            DrawnOperation(name, kind, (ms * SLOWER[0], ms * SLOWER[1], ms * SLOWER[2]), weights)
            for name, kind, ms, weights in zip(
                graph.operations, network.op_types, network.op_ms, network.weights_bytes, strict=True
            )
        ),
        tensor_bytes=network.tensor_bytes,
        solve_ms=11.3,
        emulation="Emulated: the device is this machine × 12; links are as stated, not measured.",
        constraints=("accuracy drop at most 0.05 (upper 95 % bound)", "deadline 200 ms"),
        coded_bytes=(
            {name: network.tensor_bytes[name] * factor for name in chosen.candidate.crossing(graph, 0)},
            {name: network.tensor_bytes[name] * 0.19 for name in chosen.candidate.crossing(graph, 1)},
        ),
        stated_link=(20.0, 10.0),
    )


def _front(rows: tuple[PlanRow, ...]) -> tuple[PlanRow, ...]:
    kept: list[PlanRow] = []
    for row in sorted(rows, key=lambda row: (row.prediction.device_edge_bytes, row.prediction.latency_ms)):
        if not kept or row.prediction.latency_ms < kept[-1].prediction.latency_ms:
            kept.append(row)
    return tuple(kept)
