"""A network of two small layers, made in code: what is left of a frame's time is the way, not the computing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store, sha256_of
from tercet.plans import Deployment, Plan
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame

# Boundary 0 x → boundary 1 hidden → boundary 2 scores; (rows, size) float32.
_BOUNDARIES = (("x", 64), ("hidden", 64), ("scores", 16))
EDGE_PLAN, CLOUD_PLAN, BOTH_PLAN = "edge", "cloud", "both"


def put_small_model(store: Store) -> Deployment:
    """The model in two segments, with a plan for all at the edge, all in the cloud, and a segment each."""
    files = [_segment(source, target, seed) for seed, (source, target) in enumerate(pairwise(_BOUNDARIES))]
    manifest = Manifest(
        model="small",
        model_sha256=sha256_of(b"".join(files)),
        boundaries=tuple(
            Boundary(tensors=(TensorSpec(name=name, dtype="float32", shape=(None, size)),))
            for name, size in _BOUNDARIES
        ),
        segments=tuple(
            Segment(sha256=store.add_segment(data), size_bytes=len(data), inputs=(source,), outputs=(target,))
            for data, ((source, _), (target, _)) in zip(files, pairwise(_BOUNDARIES), strict=True)
        ),
    )
    store.add_manifest(manifest)
    plans = (
        Plan(id=EDGE_PLAN, device_until=0, edge_until=2),
        Plan(id=CLOUD_PLAN, device_until=0, edge_until=0),
        Plan(id=BOTH_PLAN, device_until=0, edge_until=1),
    )
    return Deployment(model=manifest.ref, plans=plans)


def small_frame(deployment: Deployment, plan: str) -> bytes:
    """A sealed frame at boundary 0, 256 bytes of tensor."""
    header = pb.FrameHeader(model=deployment.model, plan=plan, boundary=0, node="bench", deadline_ms=10_000)
    name, size = _BOUNDARIES[0]
    x = np.random.default_rng(0).standard_normal((1, size)).astype(np.float32)
    return Frame.encode(header, {name: x}, "raw").seal()


def _segment(source: tuple[str, int], target: tuple[str, int], seed: int) -> bytes:
    weight = np.random.default_rng(seed).standard_normal((source[1], target[1])).astype(np.float32) / 8
    graph = helper.make_graph(
        [helper.make_node("MatMul", [source[0], "w"], ["sum"]), helper.make_node("Relu", ["sum"], [target[0]])],
        target[0],
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, ["batch", source[1]])],
        [helper.make_tensor_value_info(target[0], TensorProto.FLOAT, ["batch", target[1]])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
