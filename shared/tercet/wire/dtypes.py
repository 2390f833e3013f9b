"""Element types on the wire and their numpy dtypes. Bytes are little-endian, row-major."""

from __future__ import annotations

import numpy as np

from tercet.errors import TensorContractError
from tercet.v1 import frame_pb2 as pb

_TO_NUMPY: dict[pb.DataType, np.dtype[np.generic]] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    pb.DATA_TYPE_FLOAT64: np.dtype("<f8"),
    pb.DATA_TYPE_INT8: np.dtype("i1"),
    pb.DATA_TYPE_UINT8: np.dtype("u1"),
    pb.DATA_TYPE_INT32: np.dtype("<i4"),
    pb.DATA_TYPE_INT64: np.dtype("<i8"),
    pb.DATA_TYPE_BOOL: np.dtype("?"),
}
_FROM_NUMPY = {dtype: code for code, dtype in _TO_NUMPY.items()}

DTYPE_NAMES = tuple(dtype.name for dtype in _TO_NUMPY.values())


def numpy_dtype(code: int) -> np.dtype[np.generic]:
    """The numpy dtype of a wire code; TensorContractError if a newer peer sent one we don't know."""
    for known, dtype in _TO_NUMPY.items():
        if known == code:
            return dtype
    raise TensorContractError(f"data type {code} is not one this version knows")


def wire_dtype(dtype: np.dtype[np.generic]) -> pb.DataType:
    """The wire code of a numpy dtype; TensorContractError if it has none."""
    try:
        return _FROM_NUMPY[dtype.newbyteorder("<") if dtype.itemsize > 1 else dtype]
    except KeyError:
        raise TensorContractError(
            f"dtype {dtype} does not cross links; the wire knows {', '.join(DTYPE_NAMES)}"
        ) from None
