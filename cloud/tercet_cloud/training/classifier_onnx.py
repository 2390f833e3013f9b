"""A trained classifier as an ONNX file, built node by node: the same weights give the same bytes."""

from __future__ import annotations

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tercet.codecs.codec import Float32Array
from tercet_cloud.training.classifier import Averaging, Convolution, Dense, TrainedClassifier

INPUT, OUTPUT = "x", "scores"


def classifier_onnx(classifier: TrainedClassifier, shape: tuple[int, ...], name: str) -> bytes:
    """Input `x` (batch, *shape) float32, output `scores` (batch, classes) float32 logits; batch free."""
    nodes: list[NodeProto] = []
    held: dict[str, Float32Array] = {}
    weights = iter(classifier.weights)
    current, flat = INPUT, False

    def hold() -> list[str]:
        index = len(held) // 2
        held[f"kernel{index}"], held[f"bias{index}"] = next(weights)
        return [f"kernel{index}", f"bias{index}"]

    def add(operation: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    for index, layer in enumerate(classifier.layers):
        match layer:
            case Convolution(_, stride):
                attributes = {"pads": [1, 1, 1, 1], "strides": [stride, stride]}
                current = add("Conv", [current, *hold()], f"sum{index}", **attributes)
                current = add("Relu", [current], f"layer{index}")
            case Averaging(size):
                sides = [size, size]
                current = add("AveragePool", [current], f"layer{index}", kernel_shape=sides, strides=sides)
            case Dense():
                if not flat:
                    current, flat = add("Flatten", [current], "features"), True
                current = add("Gemm", [current, *hold()], f"sum{index}")
                current = add("Relu", [current], f"layer{index}")
    if not flat:
        current = add("Flatten", [current], "features")
    add("Gemm", [current, *hold()], OUTPUT)
    classes = len(classifier.weights[-1][1])
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(array, title) for title, array in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
