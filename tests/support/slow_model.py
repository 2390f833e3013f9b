"""A model that computes for about a second whatever its input: counts in an ONNX Loop."""

from __future__ import annotations

from onnx import TensorProto, helper

from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store, sha256_of
from tercet.plans import Deployment, Plan

INPUT, OUTPUT, WIDTH = "x", "y", 4
# Somewhat under a microsecond each.
ROUNDS = 1_000_000


def slow_deployment(store: Store) -> Deployment:
    """Put the model into `store`; its only plan, `cloud`, leaves everything to the cloud. y = x + ROUNDS."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["going_on"]),
            helper.make_node("Add", ["before", "one"], ["after"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, ["batch", WIDTH]),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, ["batch", WIDTH]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["rounds", "", INPUT], [OUTPUT], body=body)],
        "slow",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", WIDTH])],
        [
            helper.make_tensor("rounds", TensorProto.INT64, [], [ROUNDS]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        ],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    segment = Segment(sha256=store.add_segment(data), size_bytes=len(data), inputs=(INPUT,), outputs=(OUTPUT,))
    manifest = Manifest(
        model="slow",
        model_sha256=sha256_of(data),
        boundaries=tuple(
            Boundary(tensors=(TensorSpec(name=name, dtype="float32", shape=(None, WIDTH)),))
            for name in (INPUT, OUTPUT)
        ),
        segments=(segment,),
    )
    store.add_manifest(manifest)
    return Deployment(model=manifest.ref, plans=(Plan(id="cloud", device_until=0, edge_until=0),))
