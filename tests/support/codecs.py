"""What tests of codecs share: one specification of every kind, a calibration for the static ones, round trips."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tercet.codecs import Calibration, EncodedTensor, KnownCalibrations, parse_codec
from tercet.codecs.calibration import TensorCalibration
from tercet.codecs.codec import Array, Float32Array

FLOAT32 = np.dtype(np.float32)
LARGEST = float(np.finfo(np.float32).max)

ONE_RANGE = Calibration(
    method="given", tensors=(TensorCalibration(tensor="x", axis=None, low=(-2.0,), high=(6.0,)),)
)
THREE_CHANNELS = Calibration(
    method="given",
    tensors=(TensorCalibration(tensor="x", axis=1, low=(-1.0, 0.0, -300.0), high=(1.0, 6.5, 0.25)),),
)
CALIBRATIONS = KnownCalibrations([ONE_RANGE, THREE_CHANNELS])

FORMATS = (
    *("fp16", "bf16", "int8", "int7", "int6", "int5", "int4", "int3", "int2"),
    *("int8:tensor", "int8:sym", "int4:tensor:sym", "int2:sym", "int3:tensor"),
    *(f"int8:static@{ONE_RANGE.digest}", f"int4:sym:static@{ONE_RANGE.digest}", f"int2:static@{ONE_RANGE.digest}"),
)
# One of every kind and company; all take any shape.
LOSSY = (
    *FORMATS,
    *("top10%+raw", "top2.5%+int8", "top50%+fp16", "top100%+int3", "thr0.05+int4:sym", "thr2+bf16"),
    *("int8+zstd", "int3+zstd:19", "int5+zstd:3:bitshuffle", "fp16+zstd:shuffle", "bf16+zstd:bitshuffle"),
    *("top10%+int8+zstd:3", "top30%+int3+zstd:2:shuffle", f"int4:static@{ONE_RANGE.digest}+zstd"),
)
EXACT = ("raw", "raw+zstd", "raw+zstd:3:shuffle", "raw+zstd:bitshuffle")

shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def tensors(limit: float = 60000.0) -> st.SearchStrategy[Float32Array]:
    """float32 of any small shape, empty ones too, |x| <= limit."""
    return arrays.arrays(np.float32, shapes, elements=st.floats(-limit, limit, width=32))


def encode(array: Array, spec: str) -> EncodedTensor:
    encoded = parse_codec(spec, CALIBRATIONS).encode(array)
    return EncodedTensor(bytes(encoded.payload), encoded.parameters)


def decode(encoded: EncodedTensor, shape: tuple[int, ...], spec: str) -> Array:
    return parse_codec(spec, CALIBRATIONS).decode(encoded, FLOAT32, shape)


def there_and_back(array: Array, spec: str) -> Array:
    return decode(encode(array, spec), array.shape, spec)
