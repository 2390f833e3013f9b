"""`fp16`: float32 rounded to IEEE 754 binary16, half the bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import (
    Array,
    Codec,
    EncodedTensor,
    contiguous_float32,
    element_count,
    require_finite,
    require_size,
)
from tercet.codecs.spec import StageText
from tercet.codecs.stage import BuildContext, Slot, StageKind, StageSpec
from tercet.errors import TensorContractError, WireFormatError

_HALF = np.dtype("<f2")
# The smallest float32 that rounds to infinity.
_OVERFLOW = 65520.0


@dataclass(frozen=True)
class Fp16Codec:
    """Guarantee: |x - decode(encode(x))| <= max(2**-11 * |x|, 2**-25), round to nearest even (tested)."""

    @property
    def spec(self) -> str:
        return "fp16"

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: any shape, float32, finite, |x| < 65520 (else TensorContractError); never modified."""
        source = contiguous_float32(array, self.spec)
        if source.size == 0:
            return EncodedTensor(b"")
        reach = max(-float(source.min()), float(source.max()))
        require_finite(reach, self.spec)
        if reach >= _OVERFLOW:
            raise TensorContractError(
                f"codec fp16 holds up to 65504, this tensor reaches {reach:g}; use raw or int8"
            )
        return EncodedTensor(source.reshape(-1).astype(_HALF).view(np.uint8).data)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return element_count(shape) * _HALF.itemsize

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """Refuses NaN and infinity (WireFormatError), which no encoder sends."""
        require_size("fp16 payload", len(encoded.payload), element_count(shape) * _HALF.itemsize)
        require_size("fp16 parameters", len(encoded.parameters), 0)
        half = np.frombuffer(encoded.payload, dtype=_HALF)
        # Infinities and NaN have the largest bits of their sign; numpy's own test of halves costs ten times this.
        if half.size and (half.view("<i2").max() >= 0x7C00 or half.view("<u2").max() >= 0xFC00):
            raise WireFormatError("fp16 payload: NaN or infinity")
        return half.astype(np.float32).reshape(shape)


@dataclass(frozen=True)
class Fp16Format:
    """The stage `fp16`."""

    def __str__(self) -> str:
        return "fp16"

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        return Fp16Codec()


def _parse(stage: StageText) -> StageSpec:
    stage.without_arguments()
    return Fp16Format()


KIND = StageKind("fp16", Slot.FORMAT, "fp16", _parse)
