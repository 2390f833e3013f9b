"""`raw`: the tensor's own bytes, little-endian, row-major."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import Array, Codec, EncodedTensor, element_count, require_size
from tercet.codecs.spec import StageText
from tercet.codecs.stage import BuildContext, Slot, StageKind, StageSpec
from tercet.errors import WireFormatError


@dataclass(frozen=True)
class RawCodec:
    """Exact, for every dtype; decoding copies nothing."""

    @property
    def spec(self) -> str:
        return "raw"

    def encode(self, array: Array) -> EncodedTensor:
        """The bytes of `array` (any shape and dtype); a view where it is contiguous and little-endian."""
        contiguous = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        if contiguous.size == 0:
            return EncodedTensor(b"")
        return EncodedTensor(contiguous.reshape(-1).view(np.uint8).data)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return element_count(shape) * dtype.itemsize

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """A read-only view of the payload. NaN and infinity are values like others; a bool is 0 or 1."""
        require_size("raw payload", len(encoded.payload), element_count(shape) * dtype.itemsize)
        require_size("raw parameters", len(encoded.parameters), 0)
        if dtype == np.bool_ and len(encoded.payload) and np.frombuffer(encoded.payload, np.uint8).max() > 1:
            raise WireFormatError("raw payload: a bool is neither 0 nor 1")
        return np.frombuffer(encoded.payload, dtype=dtype).reshape(shape)


@dataclass(frozen=True)
class RawFormat:
    """The stage `raw`."""

    def __str__(self) -> str:
        return "raw"

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        return RawCodec()


def _parse(stage: StageText) -> StageSpec:
    stage.without_arguments()
    return RawFormat()


KIND = StageKind("raw", Slot.FORMAT, "raw", _parse)
