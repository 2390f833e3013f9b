"""A seeded classifier of 16×16 photos with two narrow places, for benches: x → low → mid → scores."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.store import Store, sha256_of

SIZE, CLASSES = 16, 4


def tiny_classifier(store: Store, *, task: str = "classification", batch: str | int = "batch") -> ModelCard:
    """Put the model and its card into `store`: low is (batch, 4, 8, 8), mid (batch, 4, 4, 4)."""
    random = np.random.default_rng(7)
    weights = {
        "first": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "second": random.normal(size=(4, 4, 3, 3)).astype(np.float32),
        "last": random.normal(size=(64, CLASSES)).astype(np.float32),
        "flat": np.array([0, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["wide"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["wide"], ["low"]),
        helper.make_node("Conv", ["low", "second"], ["narrow"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["narrow"], ["mid"]),
        helper.make_node("Reshape", ["mid", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "last"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny-classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx_bytes = bytes(model.SerializeToString())
    card = ModelCard.model_validate(
        {
            "name": "tiny-classifier",
            "task": task,
            "licence": "Apache-2.0",
            "onnx": OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
            "input": ImageInput(tensor="x", size=SIZE, resize_shorter=SIZE, mean=(127.0,) * 3, std=(128.0,) * 3),
            "output": "scores",
            "labels": [f"label {index}" for index in range(CLASSES)],
        }
    )
    store.add_model(card, onnx_bytes)
    return card
