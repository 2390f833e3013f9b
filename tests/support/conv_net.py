"""A seeded network of convolutions, skips and a classifier: what the runtime fuses and lays out anew, real ONNX."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of

NAME, INPUT, OUTPUT = "conv-net", "x", "scores"


def conv_net(blocks: int = 4, width: int = 8, side: int | str = 16) -> bytes:
    """`blocks` times convolution, activation, convolution, skip; then pooling and a matrix product.

    Args:
        side: of the square input; a name leaves height and width open.
    """
    generator = np.random.default_rng(1)
    weights = {"first_w": generator.normal(0, 0.3, (width, 3, 3, 3))}
    nodes = [_convolution(INPUT, "first", strides=[2, 2]), helper.make_node("Relu", ["first"], ["b0"])]
    for block in range(blocks):
        here, name = f"b{block}", f"c{block}"
        weights[f"{name}_w"] = generator.normal(0, 0.1, (width, width, 3, 3))
        weights[f"{name}_again_w"] = generator.normal(0, 0.1, (width, width, 3, 3))
        nodes += [
            _convolution(here, name),
            helper.make_node("Relu", [name], [f"{name}_warm"]),
            _convolution(f"{name}_warm", f"{name}_again"),
            helper.make_node("Add", [f"{name}_again", here], [f"b{block + 1}"], name=f"join{block}"),
        ]
    weights["matrix"] = generator.normal(0, 0.3, (width, 5))
    nodes += [
        helper.make_node("ReduceMean", [f"b{blocks}"], ["pooled"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["pooled", "matrix"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def put_model(store: Store, onnx_bytes: bytes, name: str = NAME) -> ModelCard:
    """Card and file of any model, into `store`."""
    card = ModelCard(
        name=name,
        task="other",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=TensorInput(),
        output=onnx.load_model_from_string(onnx_bytes).graph.output[0].name,
    )
    store.add_model(card, onnx_bytes)
    return card


def _convolution(source: str, name: str, strides: list[int] | None = None) -> NodeProto:
    return helper.make_node(
        "Conv", [source, f"{name}_w"], [name], name=f"node_{name}", pads=[1, 1, 1, 1], strides=strides or [1, 1]
    )
