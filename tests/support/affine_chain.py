"""A model of two affine segments with a tensor carried past the first, small enough to check by hand.

boundary 0: x (N, 3), note (N, 1) int64      segment 0: h = 2x + 1
boundary 1: h (N, 3), note (N, 1) int64      segment 1: y = -h, seen = note + 1
boundary 2: y (N, 3), seen (N, 1) int64
"""

from __future__ import annotations

import onnx
import onnx.parser

from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store, sha256_of

HEAD = """head (float[N, 3] x) => (float[N, 3] h)
<float two = {2.0}, float one = {1.0}> {
    double = Mul(x, two)
    h = Add(double, one)
}"""
TAIL = """tail (float[N, 3] h, int64[N, 1] note) => (float[N, 3] y, int64[N, 1] seen)
<int64 one = {1}> {
    y = Neg(h)
    seen = Add(note, one)
}"""
WHOLE = """whole (float[N, 3] x, int64[N, 1] note) => (float[N, 3] y, int64[N, 1] seen)
<float two = {2.0}, float one = {1.0}, int64 next = {1}> {
    double = Mul(x, two)
    h = Add(double, one)
    y = Neg(h)
    seen = Add(note, next)
}"""


def onnx_bytes(graph: str) -> bytes:
    """The ONNX file of a graph in onnx.parser's text form, checked."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}')
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def floats(name: str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=(None, 3))


def integers(name: str) -> TensorSpec:
    return TensorSpec(name=name, dtype="int64", shape=(None, 1))


def segment(data: bytes, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Segment:
    return Segment(sha256=sha256_of(data), size_bytes=len(data), inputs=inputs, outputs=outputs)


def affine_manifest() -> Manifest:
    return Manifest(
        model="affine",
        model_sha256=sha256_of(onnx_bytes(WHOLE)),
        boundaries=(
            Boundary(tensors=(floats("x"), integers("note"))),
            Boundary(tensors=(floats("h"), integers("note"))),
            Boundary(tensors=(floats("y"), integers("seen"))),
        ),
        segments=(
            segment(onnx_bytes(HEAD), ("x",), ("h",)),
            segment(onnx_bytes(TAIL), ("h", "note"), ("y", "seen")),
        ),
    )


def add_affine_chain(store: Store) -> Manifest:
    """Put manifest and segments into `store`."""
    for graph in (HEAD, TAIL):
        store.add_segment(onnx_bytes(graph))
    manifest = affine_manifest()
    store.add_manifest(manifest)
    return manifest
