"""A seeded classifier of 32×32 photos that is narrow early and works hard afterwards: cutting it there pays.

x (3, 32, 32) → narrow (4, 8, 8), little work → eight wide convolutions, nearly all the work → scores.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.store import Store, sha256_of

NAME, INPUT, NARROW, OUTPUT = "hourglass", "x", "narrow", "scores"
SIZE, CLASSES, WIDTH, LAYERS = 32, 6, 128, 8
IMAGE = ImageInput(tensor=INPUT, size=SIZE, resize_shorter=SIZE, mean=(127.0,) * 3, std=(128.0,) * 3)


def put_hourglass(store: Store) -> ModelCard:
    """Model and card, into `store`."""
    random = np.random.default_rng(11)
    weights = {
        "first": random.normal(0, 0.3, (4, 3, 4, 4)),
        "w0": random.normal(0, 0.3, (WIDTH, 4, 3, 3)),
        **{f"w{k}": random.normal(0, 0.045, (WIDTH, WIDTH, 3, 3)) for k in range(1, LAYERS)},
        "last": random.normal(0, 1, (WIDTH, CLASSES)),
    }
    nodes = [
        helper.make_node("Conv", [INPUT, "first"], ["early"], strides=[4, 4]),
        helper.make_node("Relu", ["early"], [NARROW]),
    ]
    source = NARROW
    for layer in range(LAYERS):
        nodes.append(helper.make_node("Conv", [source, f"w{layer}"], [f"conv{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{layer}"], [f"wide{layer}"]))
        source = f"wide{layer}"
    nodes.append(helper.make_node("ReduceMean", [source], ["pooled"], axes=[2, 3], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["pooled", "last"], [OUTPUT]))
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx_bytes = bytes(model.SerializeToString())
    card = ModelCard(
        name=NAME,
        task="classification",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=IMAGE,
        output=OUTPUT,
        labels=tuple(f"label {index}" for index in range(CLASSES)),
    )
    store.add_model(card, onnx_bytes)
    return card
