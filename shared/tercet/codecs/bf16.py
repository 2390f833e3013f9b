"""`bf16`: float32 rounded to its upper 16 bits, half the bytes with all of the range."""

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
from tercet.errors import WireFormatError

_BITS = np.dtype("<u2")
_LARGEST_BITS = 0x7F7F
_SIGN = 0x8000


@dataclass(frozen=True)
class Bf16Codec:
    """Guarantee: |x - decode(encode(x))| <= max(2**-8 * |x|, 2**-134), round to nearest even (tested).

    The few largest float32 values, which would round to infinity, become the largest bf16 value instead.
    """

    @property
    def spec(self) -> str:
        return "bf16"

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: any shape, float32, finite (else TensorContractError); never modified."""
        source = contiguous_float32(array, self.spec).reshape(-1)
        if source.size == 0:
            return EncodedTensor(b"")
        require_finite(source.min(), self.spec)
        require_finite(source.max(), self.spec)
        words = source.view(np.uint32)
        rounded = words >> np.uint32(16)
        rounded &= np.uint32(1)
        rounded += words
        rounded += np.uint32(0x7FFF)
        rounded >>= np.uint32(16)
        bits = rounded.astype(_BITS)
        # Only rounding made an infinity: one step back is the largest finite value.
        bits[(bits & ~np.uint16(_SIGN)) > _LARGEST_BITS] -= np.uint16(1)
        return EncodedTensor(bits.view(np.uint8).data)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return element_count(shape) * _BITS.itemsize

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """Refuses NaN and infinity (WireFormatError), which no encoder sends."""
        require_size("bf16 payload", len(encoded.payload), element_count(shape) * _BITS.itemsize)
        require_size("bf16 parameters", len(encoded.parameters), 0)
        bits = np.frombuffer(encoded.payload, _BITS)
        if bits.size and (bits.view("<i2").max() > _LARGEST_BITS or bits.max() > _LARGEST_BITS + _SIGN):
            raise WireFormatError("bf16 payload: NaN or infinity")
        words = bits.astype(np.uint32)
        words <<= np.uint32(16)
        return words.view(np.float32).reshape(shape)


@dataclass(frozen=True)
class Bf16Format:
    """The stage `bf16`."""

    def __str__(self) -> str:
        return "bf16"

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        return Bf16Codec()


def _parse(stage: StageText) -> StageSpec:
    stage.without_arguments()
    return Bf16Format()


KIND = StageKind("bf16", Slot.FORMAT, "bf16", _parse)
