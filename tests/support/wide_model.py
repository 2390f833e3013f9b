"""A model whose boundaries are as large as a frame may be: x → -x → x → its largest value."""

from __future__ import annotations

from onnx import TensorProto, helper

from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store, sha256_of
from tercet.plans import Deployment, Plan

INPUT, OUTPUT = "x", "largest"


def wide_deployment(store: Store, width: int) -> Deployment:
    """Cut the model into `store`: x, "negated" and "restored" are (1, width) float32."""
    negate = [helper.make_node("Neg", [INPUT], ["negated"])]
    restore = [helper.make_node("Neg", ["negated"], ["restored"])]
    reduce = [helper.make_node("ReduceMax", ["restored"], [OUTPUT], keepdims=1)]
    names = [INPUT, "negated", "restored", OUTPUT]
    shapes = [(1, width), (1, width), (1, width), (1, 1)]
    segments = []
    for index, nodes in enumerate((negate, restore, reduce)):
        source, target = (
            helper.make_tensor_value_info(names[at], TensorProto.FLOAT, shapes[at]) for at in (index, index + 1)
        )
        graph = helper.make_graph(nodes, f"wide-{index}", [source], [target])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        data = model.SerializeToString()
        segments.append(
            Segment(
                sha256=store.add_segment(data),
                size_bytes=len(data),
                inputs=(names[index],),
                outputs=(names[index + 1],),
            )
        )
    manifest = Manifest(
        model="wide",
        model_sha256=sha256_of(str(width).encode()),
        boundaries=tuple(
            Boundary(tensors=(TensorSpec(name=name, dtype="float32", shape=shape),))
            for name, shape in zip(names, shapes, strict=True)
        ),
        segments=tuple(segments),
    )
    store.add_manifest(manifest)
    return Deployment(model=manifest.ref, plans=(Plan(id="raw", device_until=1, edge_until=2),))
