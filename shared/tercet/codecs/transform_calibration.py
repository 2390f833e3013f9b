"""What both ends of a `klt` codec know of a tensor: how channels are mixed, and how large each coefficient is."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from functools import cached_property
from math import prod
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, model_validator

from tercet.codecs.codec import Float32Array
from tercet.documents import Document

# A basis of more channels would be larger than the model it serves.
MAX_MIXED_CHANNELS = 512
MAX_COEFFICIENTS = 1 << 22
_FLOAT = np.dtype("<f4")
_LARGEST_SKEW = 1e-3

Side = Annotated[int, Field(gt=0, le=4096)]


class TensorTransform(Document):
    """One tensor, (N, C, …), N free. Arrays are base64 of little-endian numbers.

    `shape` is (C, …). `mean` (C,) float32 is each channel's after weighting. `weights` (C,) float32, positive, say
    how much a channel's error counts, `tones`, one a place in row-major order, how much a frequency's. `basis`
    (C, C) float32 has orthonormal rows; None leaves channels unmixed. `scales` has one int8 a coefficient in
    row-major order: its mean magnitude is unit * 2**(scale / 4). At quality 0 one step is `unit`.
    """

    kind: Literal["transform"] = "transform"
    tensor: str
    shape: Annotated[tuple[Side, ...], Field(min_length=1, max_length=7)]
    unit: Annotated[FiniteFloat, Field(gt=1e-30, lt=1e30)]
    mean: str
    weights: str
    tones: str
    basis: str | None
    scales: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        channels, count = self.shape[0], prod(self.shape)
        if count > MAX_COEFFICIENTS:
            raise ValueError(f"{count} coefficients; {MAX_COEFFICIENTS} are allowed")
        if self.basis is not None and channels > MAX_MIXED_CHANNELS:
            raise ValueError(f"a basis of {channels} channels; {MAX_MIXED_CHANNELS} are allowed")
        if len(self.mean_array) != channels or len(self.weight_array) != channels or len(self.scale_array) != count:
            raise ValueError("mean and weights need one number per channel, scales one per coefficient")
        if len(self.tone_array) != count // channels:
            raise ValueError("tones need one number per frequency")
        if not np.isfinite(self.mean_array).all():
            raise ValueError("a mean is not finite")
        for numbers in (self.weight_array, self.tone_array):
            if not (numbers.min() > 1e-15 and numbers.max() < 1e15):
                raise ValueError("weights and tones must be positive and of reasonable size")
        basis = self.basis_array
        if basis is not None and not np.abs(basis @ basis.T - np.eye(channels)).max() < _LARGEST_SKEW:
            raise ValueError("the basis is not orthonormal")
        return self

    @cached_property
    def mean_array(self) -> Float32Array:
        return _floats(self.mean)

    @cached_property
    def weight_array(self) -> Float32Array:
        return _floats(self.weights)

    @cached_property
    def tone_array(self) -> Float32Array:
        return _floats(self.tones)

    @cached_property
    def basis_array(self) -> Float32Array | None:
        """(C, C) float32, one component a row."""
        if self.basis is None:
            return None
        numbers = _floats(self.basis)
        if len(numbers) != self.shape[0] ** 2:
            raise ValueError("the basis needs one row and one column per channel")
        return numbers.reshape(self.shape[0], -1)

    @cached_property
    def scale_array(self) -> npt.NDArray[np.int8]:
        return np.frombuffer(_bytes(self.scales), np.int8)


def packed_floats(array: npt.NDArray[np.floating]) -> str:
    """The base64 text of float32 numbers."""
    return b64encode(np.ascontiguousarray(array, _FLOAT).tobytes()).decode()


def packed_int8(array: npt.NDArray[np.int8]) -> str:
    return b64encode(np.ascontiguousarray(array, np.int8).tobytes()).decode()


def _floats(text: str) -> Float32Array:
    data = _bytes(text)
    if len(data) % _FLOAT.itemsize:
        raise ValueError("not whole float32 numbers")
    return np.frombuffer(data, _FLOAT).astype(np.float32, copy=False)


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
