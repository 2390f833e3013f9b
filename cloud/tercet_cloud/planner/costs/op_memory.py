"""What each operation holds in memory: its weights, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import numpy.typing as npt
import onnx

from tercet.errors import SpecError
from tercet_cloud.models.graph import Constants, OnnxGraph
from tercet_cloud.models.tensor_types import bytes_per_frame
from tercet_cloud.planner.measuring.coding_table import CodingTable

Float64Array = npt.NDArray[np.float64]


def weights_bytes(graph: OnnxGraph) -> Float64Array:
    """(operations,) bytes of the constants each operation needs; what several need counts for the first of them."""
    counted = set[str]()
    sizes = np.zeros(len(graph.operations))
    for operation in graph.operations:
        needed = graph.constants(operation.constants)
        for name, size_bytes in _sizes(needed).items():
            if name not in counted:
                counted.add(name)
                sizes[operation.index] += size_bytes
    return sizes


def activation_bytes(graph: OnnxGraph, table: CodingTable) -> Float64Array:
    """(operations,) bytes of what each operation gives for one frame.

    As measured with the codec `raw`, headers included; by declared shapes, free axes counted as 1, for tensors that
    cannot cross; 0 where nothing is known.
    """
    raw = next((index for index, codec in enumerate(table.codecs) if codec.spec == "raw"), None)
    measured = {
        name: found.bytes
        for name, entries in table.tensors.items()
        if raw is not None and (found := entries[raw]) is not None
    }
    return np.array(
        [sum(_activation(graph, name, measured) for name in operation.gives) for operation in graph.operations],
        np.float64,
    )


def _activation(graph: OnnxGraph, name: str, measured: Mapping[str, float]) -> float:
    if name in measured:
        return measured[name]
    try:
        return bytes_per_frame(graph.types.spec(name))
    except SpecError:
        return 0.0


def _sizes(needed: Constants) -> dict[str, int]:
    """Bytes by name: initializers, and the values that constant nodes hold."""
    sizes = {item.name: _tensor_bytes(item) for item in needed.initializers}
    for sparse in needed.sparse_initializers:
        sizes[sparse.values.name] = _tensor_bytes(sparse.values) + _tensor_bytes(sparse.indices)
    for node in needed.nodes:
        values = [attribute.t for attribute in node.attribute if attribute.HasField("t")]
        if values:
            sizes[next(name for name in node.output if name)] = sum(_tensor_bytes(value) for value in values)
    return sizes


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    try:
        item_bytes = int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)
    except (KeyError, TypeError):
        item_bytes = 1
    return int(prod(tensor.dims)) * item_bytes
