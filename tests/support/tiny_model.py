"""A seeded four-layer network, cut by hand into three segments: small enough for every test, real ONNX."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tercet.codecs.codec import Array, Float32Array
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store, sha256_of
from tercet.plans import Deployment, LinkCodecs, Plan

INPUT, OUTPUT = "x", "scores"
INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE = 16, 32, 5
# Boundary 0 x → boundary 1 hidden → boundary 2 squeezed → boundary 3 scores.
BOUNDARIES = ((INPUT, INPUT_SIZE), ("hidden", HIDDEN_SIZE), ("squeezed", 8), (OUTPUT, OUTPUT_SIZE))


def tiny_input(seed: int = 0, rows: int = 1) -> Float32Array:
    """(rows, 16) float32, unitless, about standard normal."""
    return np.random.default_rng(seed).standard_normal((rows, INPUT_SIZE)).astype(np.float32)


def tiny_boundary(x: Float32Array, boundary: int) -> Float32Array:
    """The tensor at `boundary` by numpy alone: (rows, size of the boundary) float32."""
    current = x
    for weight, bias in _layers()[:boundary]:
        current = np.maximum(current @ weight + bias, 0).astype(np.float32)
    return current


def tiny_reference(x: Float32Array) -> dict[str, Array]:
    """The model's outputs by numpy alone."""
    return {OUTPUT: tiny_boundary(x, len(BOUNDARIES) - 1)}


def tiny_deployment(store: Store) -> Deployment:
    """Cut the model into `store`; plans raw, fp16 and int8 run one segment on each tier.

    Plan `edge-only` leaves the cloud nothing to compute, `cloud-only` all.
    """
    segments = []
    for index, (weight, bias) in enumerate(_layers()):
        onnx_bytes = _segment_bytes(BOUNDARIES[index], BOUNDARIES[index + 1], weight, bias)
        segments.append(
            Segment(
                sha256=store.add_segment(onnx_bytes),
                size_bytes=len(onnx_bytes),
                inputs=(BOUNDARIES[index][0],),
                outputs=(BOUNDARIES[index + 1][0],),
            )
        )
    manifest = Manifest(
        model="tiny",
        model_sha256=sha256_of(b"".join(segment.sha256.encode() for segment in segments)),
        boundaries=tuple(
            Boundary(tensors=(TensorSpec(name=name, dtype="float32", shape=(None, size)),))
            for name, size in BOUNDARIES
        ),
        segments=tuple(segments),
    )
    store.add_manifest(manifest)
    plans = [
        Plan(id=codec, device_until=1, edge_until=2, codecs=LinkCodecs(device_edge=codec, edge_cloud=codec))
        for codec in ("raw", "fp16", "int8")
    ]
    plans.append(Plan(id="edge-only", device_until=1, edge_until=3))
    plans.append(Plan(id="cloud-only", device_until=0, edge_until=0))
    return Deployment(model=manifest.ref, plans=tuple(plans))


def tiny_card(store: Store) -> ModelCard:
    """A card for the model, put into `store` beside its first segment's bytes, so that devices can open it."""
    onnx_bytes = _segment_bytes(BOUNDARIES[0], BOUNDARIES[1], *_layers()[0])
    card = ModelCard(
        name="tiny",
        task="other",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=TensorInput(),
        output=OUTPUT,
    )
    store.add_model(card, onnx_bytes)
    return card


def _layers() -> list[tuple[Float32Array, Float32Array]]:
    """Weight (inputs, outputs) and bias (outputs,) of each segment, float32."""
    generator = np.random.default_rng(20)
    layers = []
    for (_, inputs), (_, outputs) in pairwise(BOUNDARIES):
        weight = generator.standard_normal((inputs, outputs)).astype(np.float32) / np.float32(inputs**0.5)
        layers.append((weight, generator.standard_normal(outputs).astype(np.float32)))
    return layers


def _segment_bytes(
    source: tuple[str, int], target: tuple[str, int], weight: Float32Array, bias: Float32Array
) -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", [source[0], "weight", "bias"], ["sum"]),
            helper.make_node("Relu", ["sum"], [target[0]]),
        ],
        f"{source[0]}-to-{target[0]}",
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, ["batch", source[1]])],
        [helper.make_tensor_value_info(target[0], TensorProto.FLOAT, ["batch", target[1]])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
