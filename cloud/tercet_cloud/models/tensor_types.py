"""Types of the tensors inside a model, by ONNX shape inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, TypeProto, shape_inference

from tercet.errors import SpecError
from tercet.models.manifest import TensorSpec
from tercet.wire.dtypes import DTYPE_NAMES

_DTYPES = {onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name)): name for name in DTYPE_NAMES}


class TensorTypes:
    """What is known about every tensor of a model. Raises SpecError if the model contradicts itself."""

    def __init__(self, model: ModelProto) -> None:
        try:
            inferred = shape_inference.infer_shapes(model, data_prop=True)
        except Exception as error:  # InferenceError, or ValueError over 2 GiB
            raise SpecError(f"shapes of this model cannot be inferred: {str(error).splitlines()[0]}") from error
        graph = inferred.graph
        self._types: dict[str, TypeProto] = {
            item.name: item.type for item in (*graph.value_info, *graph.input, *graph.output)
        }
        self._types.update(
            {
                item.name: onnx.helper.make_tensor_type_proto(item.data_type, item.dims)
                for item in graph.initializer
                if item.name not in self._types
            }
        )

    @classmethod
    def with_inputs(cls, model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> TensorTypes:
        """Types of a model whose inputs have these sizes; inputs that are not named stay as they are declared."""
        if not shapes:
            return cls(model)
        sized = ModelProto()
        sized.CopyFrom(model)
        for item in sized.graph.input:
            for dim, size in zip(item.type.tensor_type.shape.dim, shapes.get(item.name, ()), strict=False):
                dim.dim_value = size
        # What was declared for free sizes would contradict what follows from these.
        del sized.graph.value_info[:]
        return cls(sized)

    def proto(self, name: str) -> TypeProto:
        """The type as ONNX writes it; `spec` says whether it is complete."""
        return self._types.get(name, TypeProto())

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Sizes by axis, None where free (some exporters write -1 there); None if not even the rank is known."""
        tensor = self.proto(name).tensor_type
        if not tensor.HasField("shape"):
            return None
        # Some exporters write a free size as -1.
        return tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in tensor.shape.dim
        )

    def spec(self, name: str) -> TensorSpec:
        """The tensor as a boundary declares it; SpecError if it cannot cross."""
        proto = self.proto(name)
        kind = proto.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            raise SpecError(f"{name!r} is a {kind.removesuffix('_type')}, only tensors cross; cut elsewhere")
        shape = self.shape(name)
        element = proto.tensor_type.elem_type
        if shape is None or element == TensorProto.UNDEFINED:
            raise SpecError(
                f"dtype and rank of tensor {name!r} are not known before running: cut elsewhere, "
                "or declare it in the model's value_info"
            )
        if element not in _DTYPES:
            raise SpecError(
                f"tensor {name!r} is {TensorProto.DataType.Name(element).lower()}, which does not cross links; "
                f"the wire knows {', '.join(DTYPE_NAMES)}"
            )
        return TensorSpec.model_validate({"name": name, "dtype": _DTYPES[element], "shape": shape})


def bytes_per_frame(spec: TensorSpec) -> int:
    """Raw bytes of a tensor for one frame: free sizes count as 1."""
    return prod(size or 1 for size in spec.shape) * np.dtype(spec.dtype).itemsize
