"""How long planning a whole fleet takes: made-up cohorts over costs like those of EfficientNet-Lite0.

The network's graph, shapes and weights are real; times of operations are its arithmetic scaled to a whole that was
measured, codings are shares of the raw bytes. So the figures say how quickly a fleet is planned, not which plan is
good for a real one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tercet.models.store import Store
from tercet_cloud.models.compute_cost import macs_by_operation
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.tensor_types import bytes_per_frame
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.costs.op_memory import weights_bytes
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, TierSpec, Topology
from tercet_cloud.planner.cuts.cut_graph import INPUT
from tercet_cloud.planner.cuts.onnx_cut_graph import cut_graph_of
from tercet_cloud.planner.fleet.cohort_plans import plan_cohorts
from tercet_cloud.planner.fleet.fleet_file import CloudSpec, Cohort, EdgeSpec, Fleet, FleetModel
from tercet_cloud.planner.fleet.setting import resolve_fleet
from tercet_cloud.planner.measuring.coding_table import CodingTable, MenuCodec, TensorCoding

MODEL = "efficientnet-lite0"
DEVICES, COHORTS, EDGES = 100_000, 200, 50
GOAL_S = 10.0
# One thread of a 2-core x86-64 machine, and what an operation costs beside its arithmetic.
_WHOLE_MS = 5.6
_OPERATION_MS = 0.005
_TOO_INACCURATE = "klt:5"
# Of what may be used, to count as full.
_FULL = 0.995


@dataclass(frozen=True)
class _MadeUpCodec:
    """Bytes as a share of the raw ones; encoding and decoding in GB/s of them. Images: of the input's uint8."""

    codec: MenuCodec
    share: float
    encode_gb_s: float
    decode_gb_s: float


def _codec(
    title: str, share: float, encode: float, decode: float, *, lossless: bool = False, image: bool = False
) -> _MadeUpCodec:
    return _MadeUpCodec(MenuCodec(title=title, spec=title, lossless=lossless, image=image), share, encode, decode)


_CODECS = (
    _codec("raw", 1.0, 10, 30, lossless=True),
    _codec("fp16", 0.5, 1.4, 2.4),
    _codec("int8", 0.27, 1.6, 2.0),
    _codec("int4+zstd:19", 0.13, 0.17, 1.0),
    _codec("int3+zstd:19", 0.09, 0.13, 0.9),
    _codec("klt:5", 0.08, 0.14, 0.1),
    _codec("png", 0.2, 0.03, 0.12, lossless=True, image=True),
    _codec("jpeg:75", 0.019, 0.77, 0.44, image=True),
)


def measurements_like_lite0(store: Store) -> ModelMeasurements:
    """Real graph and sizes, made-up times; the store has to hold the model."""
    card = store.card(MODEL)
    graph = OnnxGraph(store.model_bytes(card))
    flow = cut_graph_of(graph)
    macs = np.array(macs_by_operation(graph), np.float64)
    times = macs / macs.sum() * (_WHOLE_MS - _OPERATION_MS * len(macs)) + _OPERATION_MS
    sizes = {tensor.name: bytes_per_frame(graph.types.spec(tensor.name)) for tensor in flow.tensors}
    return ModelMeasurements(
        graph=flow,
        op_ms=np.stack([times] * 3),
        session_ms=(0.15, 0.15, 0.15),
        weights_bytes=weights_bytes(graph),
        activation_bytes=np.array(
            [sum(sizes.get(name, 0) for name in operation.gives) for operation in graph.operations], np.float64
        ),
        runtime_bytes=80e6,
        coding=CodingTable(
            model=MODEL,
            model_sha256=graph.sha256,
            samples="none: made-up shares of the raw bytes",
            frames=1,
            codecs=tuple(item.codec for item in _CODECS),
            tensors={
                tensor.name: tuple(
                    _coding(item, sizes[tensor.name]) if tensor.producer == INPUT or not item.codec.image else None
                    for item in _CODECS
                )
                for tensor in flow.tensors
            },
            answer_bytes=4_200,
            header_bytes=250,
        ),
    )


def _coding(item: _MadeUpCodec, raw_bytes: int) -> TensorCoding:
    per_ms = raw_bytes / 1e6
    return TensorCoding(
        bytes=raw_bytes * item.share + 40, encode_ms=per_ms / item.encode_gb_s, decode_ms=per_ms / item.decode_gb_s
    )


def made_up_fleet(*, cohorts: int = COHORTS, edges: int = EDGES, devices: int = DEVICES, seed: int = 0) -> Fleet:
    """Cohorts of random sizes, devices, links and rates, each on one to four edges; some edges short of memory."""
    random = np.random.default_rng(seed)
    sizes = 1 + random.multinomial(devices - cohorts, random.dirichlet(np.full(cohorts, 2.0)))
    names = [f"edge-{index:02}" for index in range(edges)]

    def edge(name: str) -> EdgeSpec:
        speed = float(random.choice([20, 50, 100, 200, 500]))
        return EdgeSpec(
            name=name,
            cores=int(random.choice([2, 4, 8, 16])),
            memory_mb=float(random.choice([24, 64, 2048])),
            slowdown=float(random.choice([1.0, 1.5, 2.5])),
            uplink=LinkSpec(up_mbps=speed, down_mbps=speed, round_trip_ms=float(random.uniform(5, 60))),
        )

    def cohort(index: int) -> Cohort:
        speed = float(10 ** random.uniform(0, 2))
        return Cohort(
            name=f"cohort-{index:03}",
            devices=int(sizes[index]),
            frames_per_second=float(random.choice([0.1, 0.2, 0.5, 1, 2])),
            edges=tuple(random.choice(names, int(random.integers(1, min(4, edges) + 1)), replace=False)),
            device=TierSpec(
                slowdown=float(random.choice([4, 8, 16, 32])), active_power_w=float(random.choice([1, 3]))
            ),
            link=LinkSpec(
                up_mbps=speed,
                down_mbps=2 * speed,
                round_trip_ms=float(random.uniform(1, 30)),
                transmit_power_w=0.8,
            ),
            constraints=Constraints(deadline_ms=float(random.choice([250, 500, 1000]))),
        )

    return Fleet(
        name="made-up",
        note="made-up cohorts over costs like those of EfficientNet-Lite0: no real fleet",
        models={MODEL: FleetModel(topology=Path("topology.yaml"))},
        cloud=CloudSpec(cores=max(1, devices // 1000)),
        edges=tuple(edge(name) for name in names),
        cohorts=tuple(cohort(index) for index in range(cohorts)),
    )


def time_fleet(
    store: Store, *, cohorts: int = COHORTS, edges: int = EDGES, devices: int = DEVICES, seed: int = 0
) -> dict[str, object]:
    """Plan one made-up fleet, from measurements to what to buy next; the store has to hold the model.

    Accuracy is made up as well: one codec of the menu turns out too inaccurate, so that the fleet is planned twice.
    """
    measurements = measurements_like_lite0(store)
    link = LinkSpec(up_mbps=10, down_mbps=20)
    topology = Topology(links=Links(device_edge=link, edge_cloud=link))
    setting = resolve_fleet(
        made_up_fleet(cohorts=cohorts, edges=edges, devices=devices, seed=seed), Path(), lambda path: topology
    )
    wall, processor = time.perf_counter(), time.process_time()
    plan = plan_cohorts(setting, [measurements] * len(setting.cohorts), {MODEL: _made_up_accuracy})
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    full = [resource.name for resource, used in plan.resources if used > resource.usable * _FULL]
    return {
        "devices": setting.fleet.devices,
        "cohorts": len(setting.fleet.cohorts),
        "edges": len(setting.fleet.edges),
        "seed": seed,
        "setting": setting.fleet.note,
        "wall_s": round(wall, 2),
        "processor_s": round(processor, 2),
        "goal": {"wall_s": GOAL_S},
        "rounds": plan.rounds,
        "plans_chosen_from": plan.pooled[MODEL],
        "gap": plan.choice.gap,
        "parts": len(plan.parts),
        "resources_full": len(full),
        "mean_latency_ms": plan.choice.value / setting.fleet.frames_per_second,
    }


def _made_up_accuracy(candidate: Candidate) -> MeasuredAccuracy:
    drop = 0.1 if _TOO_INACCURATE in candidate.codecs else 0.01
    return MeasuredAccuracy("made up", 1 - drop, 1 - drop, 1.0, drop, drop, frames=1)
