"""The interface every codec implements, and the checks they share."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tercet.errors import TensorContractError, WireFormatError

Array = npt.NDArray[np.generic]
Float32Array = npt.NDArray[np.float32]
Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class EncodedTensor:
    """A coded tensor.

    `payload` is what grows with the tensor; `parameters` is the side data (scales, zero points) that the
    decoder needs. `payload` may be a view into the array that was encoded: use it before changing that array.
    """

    payload: Buffer
    parameters: bytes = b""

    @property
    def size_bytes(self) -> int:
        return len(self.payload) + len(self.parameters)


class Codec(Protocol):
    """Codes one tensor. Implementations keep no state between tensors, are thread-safe, and never modify input."""

    @property
    def spec(self) -> str:
        """The canonical specification, e.g. "int8"; `parse_codec(codec.spec)` gives an equal codec."""
        ...

    def encode(self, array: Array) -> EncodedTensor:
        """Raises TensorContractError for a dtype or values the codec can't represent."""
        ...

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        """The longest payload that a tensor of `dtype` and `shape` can have: the cap of any decompression."""
        ...

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """An array of `dtype` and `shape`, possibly a read-only view of the payload.

        The caller has checked that the shape's size is within the frame limit. Raises WireFormatError if
        payload or parameters are not exactly as long as dtype and shape demand.
        """
        ...


def contiguous_float32(array: Array, codec: str) -> Float32Array:
    """`array` itself if it is row-major float32, else a copy that is; TensorContractError for other dtypes."""
    if array.dtype.newbyteorder("=") != np.float32:
        raise TensorContractError(f"codec {codec} takes float32, not {array.dtype}; use raw for other types")
    return np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)


def require_finite(extremes: Float32Array | float, codec: str) -> None:
    """TensorContractError unless all `extremes` are finite.

    Extremes are enough: minima and maxima pass NaN on and show infinities, and cost no temporary array.
    """
    if not np.isfinite(extremes).all():
        raise TensorContractError(f"codec {codec} takes finite values; this tensor has NaN or infinity")


def require_size(what: str, found_bytes: int, expected_bytes: int) -> None:
    if found_bytes != expected_bytes:
        raise WireFormatError(f"{what}: {found_bytes} bytes where dtype and shape demand {expected_bytes}")


def require_at_most(what: str, found_bytes: int, most_bytes: int) -> None:
    if found_bytes > most_bytes:
        raise WireFormatError(f"{what}: {found_bytes} bytes where dtype and shape allow {most_bytes}")


def element_count(shape: tuple[int, ...]) -> int:
    return prod(shape)
