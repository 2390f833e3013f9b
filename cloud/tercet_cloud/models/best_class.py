"""A classifier's ONNX graph with a small answer: of each place the best class and its score, not every class's.

A text recogniser scores 18,710 characters at every place of a line: 3 MB for a short one, of which a reader looks
at the largest alone. The choice is exact: ties go to the first class, as numpy's argmax has it.
"""

from __future__ import annotations

from onnx import ModelProto, TensorProto, helper

from tercet.errors import SpecError
from tercet_cloud.models.packaged_models import BEST_CLASS, BEST_SCORE

_LAST_OPSET_WITH_AXES_ATTRIBUTE = 17


def with_best_class(model: ModelProto) -> ModelProto:
    """The model with its only output (…, classes) float32 replaced.

    Returns:
        a copy with outputs `best_class` (…) int64 and `best_score` (…) float32.
    Raises:
        SpecError: several outputs, an output of unknown rank, or an opset over 17.
    """
    if len(model.graph.output) != 1:
        raise SpecError(f"a best class is chosen of one output, this model has {len(model.graph.output)}")
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    if opset > _LAST_OPSET_WITH_AXES_ATTRIBUTE:
        raise SpecError(f"models of opset {opset} are not supported here: export it with opset 17 or less")
    small = ModelProto()
    small.CopyFrom(model)
    graph = small.graph
    (scores,) = graph.output
    axes = list(scores.type.tensor_type.shape.dim)[:-1]
    if not axes:
        raise SpecError(f"output {scores.name} does not say its shape, or has no axis besides the classes")
    shape = [axis.dim_value or axis.dim_param or None for axis in axes]
    graph.node.extend(
        [
            helper.make_node("ArgMax", [scores.name], [BEST_CLASS], axis=-1, keepdims=0),
            helper.make_node("ReduceMax", [scores.name], [BEST_SCORE], axes=[-1], keepdims=0),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info(BEST_CLASS, TensorProto.INT64, shape),
            helper.make_tensor_value_info(BEST_SCORE, TensorProto.FLOAT, shape),
        ]
    )
    return small
