"""`fp16`: float32 rounded to IEEE 754 binary16, half the bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import Array, EncodedTensor, element_count, require_finite_float32, require_size
from tercet.errors import TensorContractError

_HALF = np.dtype("<f2")


@dataclass(frozen=True)
class Fp16Codec:
    """Guarantee: |x - decode(encode(x))| <= max(2**-11 * |x|, 2**-25), round to nearest even (tested)."""

    @property
    def spec(self) -> str:
        return "fp16"

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: any shape, float32, finite, |x| < 65520 (else TensorContractError)."""
        source = require_finite_float32(array, self.spec)
        with np.errstate(over="ignore"):
            half = source.astype(_HALF)
        if half.size == 0:
            return EncodedTensor(b"")
        if not np.isfinite(half).all():
            raise TensorContractError(
                f"codec fp16 holds up to 65504, this tensor reaches {np.abs(source).max():g}; use raw or int8"
            )
        return EncodedTensor(half.reshape(-1).view(np.uint8).data)

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        require_size("fp16 payload", len(encoded.payload), element_count(shape) * _HALF.itemsize)
        return np.frombuffer(encoded.payload, dtype=_HALF).astype(np.float32).reshape(shape)
