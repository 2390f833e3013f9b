"""A model run with everything that flows inside it as an output."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import ModelProto

from tercet.codecs.codec import Array
from tercet.errors import SpecError
from tercet.inference.whole_model import WholeModel
from tercet.limits import MAX_TENSOR_BYTES
from tercet.models.manifest import TensorSpec
from tercet_cloud.models.graph import OnnxGraph

_THREADS = 4


def crossing_tensors(graph: OnnxGraph) -> tuple[str, ...]:
    """The tensors that may cross a link: inputs first, then in the order in which they are made.

    Left out are sequences and optionals, dtypes that the wire does not know, and tensors whose rank is not known
    before running; no segment can be made that takes or gives those.
    """
    flowing = [name for name in graph.producer if name in graph.consumers or name in graph.outputs]
    return tuple(name for name in (*graph.inputs, *flowing) if _spec(graph, name) is not None)


class InsideView:
    """Runs a model and gives the tensors `names`, whichever they are. SpecError if ONNX Runtime cannot load it."""

    def __init__(self, graph: OnnxGraph, names: Iterable[str]) -> None:
        self._specs = {name: graph.types.spec(name) for name in names}
        wider = ModelProto()
        wider.CopyFrom(graph.model)
        for name in self._specs:
            if name not in graph.inputs and name not in graph.outputs:
                wider.graph.output.append(onnx.helper.make_value_info(name, graph.types.proto(name)))
        self._model = WholeModel(wider.SerializeToString(), threads=min(_THREADS, os.cpu_count() or 1))

    def run(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        """Tensors by name, those left out that are not as declared, or larger than a frame may be."""
        found = {**self._model.run(frame), **frame}
        return {name: found[name] for name, spec in self._specs.items() if _as_declared(found[name], spec)}


def _spec(graph: OnnxGraph, name: str) -> TensorSpec | None:
    try:
        return graph.types.spec(name)
    except SpecError:
        return None


def _as_declared(array: Array, spec: TensorSpec) -> bool:
    fits = array.ndim == len(spec.shape) and all(
        size in (None, found) for size, found in zip(spec.shape, array.shape, strict=True)
    )
    return fits and array.dtype == np.dtype(spec.dtype) and array.nbytes <= MAX_TENSOR_BYTES
