"""Where a model's arithmetic is: multiply-accumulates of one frame, counted from shapes.

Convolutions and matrix products only; they are nearly all the work of the networks that are worth cutting. What a
cut costs in time is measured, not derived from this (see the planner).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from onnx import NodeProto

from tercet_cloud.models.boundaries import boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.tensor_types import TensorTypes


def macs_by_operation(graph: OnnxGraph, types: TensorTypes | None = None) -> list[int]:
    """Multiply-accumulates of each operation for one frame, free sizes counted as 1; 0 where shapes are unknown.

    Args:
        types: the graph's with sizes of its inputs filled in, see `TensorTypes.with_inputs`.
    """
    return [_macs(operation.node, types or graph.types) for operation in graph.operations]


def share_before(graph: OnnxGraph, macs: Sequence[int], tensors: Sequence[str]) -> float:
    """The part of all multiply-accumulates, 0…1, that lies before the cut at `tensors`."""
    before = boundary_of_tensors(graph, tensors).before
    return sum(macs[index] for index in before) / max(1, sum(macs))


def _macs(node: NodeProto, types: TensorTypes) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    shapes = [_sizes(types, name) for name in (node.input[0], node.input[1], node.output[0])]
    if any(not sizes for sizes in shapes):
        return 0
    data, weights, result = shapes
    match node.op_type:
        case "Conv":  # weights: (out, in / groups, *kernel), each used once for every output element
            return prod(result) * prod(weights[1:])
        case "ConvTranspose":  # weights: (in, out / groups, *kernel), each used once for every input element
            return prod(data) * prod(weights[1:])
        case "Gemm":
            transposed = any(item.name == "transA" and item.i for item in node.attribute)
            return prod(result) * data[0 if transposed else -1]
        case _:
            return prod(result) * data[-1]


def _sizes(types: TensorTypes, name: str) -> list[int]:
    return [size or 1 for size in types.shape(name) or ()]
