"""A seeded classifier of 24×24 photos, cut into two segments: what image codecs and streams need, real ONNX."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tercet.codecs.codec import Float32Array
from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store, sha256_of

INPUT, FEATURES, OUTPUT = "photo", "features", "scores"
SIDE, CHANNELS, CLASSES = 24, 8, 5
IMAGE = ImageInput(
    tensor=INPUT, size=SIDE, resize_shorter=SIDE, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
)
# Boundary 0 photo → boundary 1 features → boundary 2 scores.
_SHAPES = {INPUT: ("batch", 3, SIDE, SIDE), FEATURES: ("batch", CHANNELS, 12, 12), OUTPUT: ("batch", CLASSES)}


def random_pixels(seed: int, count: int = 1, side: int = SIDE) -> np.ndarray:
    """(count, side, side, 3) uint8: smooth pictures with some noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side
    waves = generator.uniform(1, 6, (2, count, 1, 1, 3))
    smooth = 120 + 100 * np.sin(waves[0] * rows[None, :, :, None] + waves[1] * columns[None, :, :, None])
    return np.clip(smooth + generator.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def normalised(pixels: np.ndarray, image: ImageInput = IMAGE) -> Float32Array:
    """(N, 3, H, W) float32 from (N, H, W, 3) uint8, as `preprocess` does it."""
    mean, std = (np.asarray(values, np.float32) for values in (image.mean, image.std))
    return np.ascontiguousarray(((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))


def put_image_model(store: Store) -> Manifest:
    """Card, segments and manifest, into `store`."""
    generator = np.random.default_rng(8)
    kernel = generator.normal(0, 0.2, (CHANNELS, 3, 3, 3)).astype(np.float32)
    weight = generator.normal(0, 1, (CHANNELS, CLASSES)).astype(np.float32)
    files = [
        _onnx_bytes(
            INPUT,
            FEATURES,
            [helper.make_node("Conv", [INPUT, "w"], [FEATURES], strides=[2, 2], pads=[1, 1, 1, 1])],
            kernel,
        ),
        _onnx_bytes(
            FEATURES,
            OUTPUT,
            [
                helper.make_node("Relu", [FEATURES], ["positive"]),
                helper.make_node("ReduceMean", ["positive"], ["pooled"], axes=[2, 3], keepdims=0),
                helper.make_node("MatMul", ["pooled", "w"], [OUTPUT]),
            ],
            weight,
        ),
    ]
    names = (INPUT, FEATURES, OUTPUT)
    manifest = Manifest(
        model="thumbnails",
        model_sha256=sha256_of(b"".join(files)),
        boundaries=tuple(
            Boundary(tensors=(TensorSpec(name=name, dtype="float32", shape=(None, *_SHAPES[name][1:])),))  # type: ignore[arg-type]
            for name in names
        ),
        segments=tuple(
            Segment(
                sha256=store.add_segment(data), size_bytes=len(data), inputs=(names[k],), outputs=(names[k + 1],)
            )
            for k, data in enumerate(files)
        ),
    )
    store.add_manifest(manifest)
    card = ModelCard(
        name=manifest.model,
        task="other",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(files[0]), size_bytes=len(files[0])),
        input=IMAGE,
        output=OUTPUT,
    )
    store.add_model(card, files[0])
    return manifest


def _onnx_bytes(source: str, target: str, nodes: list[onnx.NodeProto], weight: Float32Array) -> bytes:
    graph = helper.make_graph(
        nodes,
        f"{source}-to-{target}",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, _SHAPES[source])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, _SHAPES[target])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
