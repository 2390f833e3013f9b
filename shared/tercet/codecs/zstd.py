"""`zstd`: a Zstandard frame around the payload of the codec before it.

zstd                level 1
zstd:19             level 1 … 22; the receiver need not care
zstd:3:shuffle      bytes of items regrouped first (`shuffle.py`), or `bitshuffle`: their bits
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import zstandard

from tercet.codecs.codec import Array, Buffer, Codec, EncodedTensor, require_at_most
from tercet.codecs.shuffle import SHUFFLES
from tercet.codecs.spec import StageText
from tercet.codecs.stage import BuildContext, Slot, StageKind, StageSpec
from tercet.errors import WireFormatError

DEFAULT_LEVEL = 1
MAX_LEVEL = 22


class _Contexts(threading.local):
    """zstandard's contexts are dear to make and not thread-safe: each thread keeps its own."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self.compressors:
            self.compressors[level] = zstandard.ZstdCompressor(
                level=level, write_content_size=True, write_checksum=False
            )
        return self.compressors[level]


_contexts = _Contexts()


@dataclass(frozen=True)
class ZstdCodec:
    """Exact: decodes to what `inner` decodes to. An empty payload stays empty."""

    inner: Codec
    stage: ZstdStage

    @property
    def spec(self) -> str:
        return f"{self.inner.spec}+{self.stage}"

    def encode(self, array: Array) -> EncodedTensor:
        encoded = self.inner.encode(array)
        if not encoded.payload:
            return encoded
        payload: Buffer = encoded.payload
        if self.stage.shuffle:
            payload = SHUFFLES[self.stage.shuffle].mix(payload, self._item_bytes(array.dtype))
        return EncodedTensor(_contexts.compressor(self.stage.level).compress(payload), encoded.parameters)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        # Zstandard stores what it can't shrink: a byte in 256 and a header more (ZSTD_COMPRESSBOUND, rounded up).
        inner_bytes = self.inner.max_payload_bytes(dtype, shape)
        return inner_bytes + inner_bytes // 128 + 1024

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """Nothing is decompressed that claims to be longer than `inner` allows, or does not say how long it is."""
        if not encoded.payload:
            return self.inner.decode(encoded, dtype, shape)
        most_bytes = self.inner.max_payload_bytes(dtype, shape)
        require_at_most(f"{self.spec} payload", len(encoded.payload), self.max_payload_bytes(dtype, shape))
        payload: Buffer = _decompress(encoded.payload, most_bytes, self.spec)
        if self.stage.shuffle:
            payload = SHUFFLES[self.stage.shuffle].restore(payload, self._item_bytes(dtype))
        return self.inner.decode(EncodedTensor(payload, encoded.parameters), dtype, shape)

    def _item_bytes(self, dtype: np.dtype[np.generic]) -> int:
        """Bytes of one element in the inner payload, at least 1."""
        return max(self.inner.max_payload_bytes(dtype, (8,)) // 8, 1)


def _decompress(payload: Buffer, most_bytes: int, spec: str) -> bytes:
    try:
        claimed = zstandard.get_frame_parameters(payload).content_size
        if claimed == zstandard.CONTENTSIZE_UNKNOWN:
            raise WireFormatError(f"{spec} payload: its Zstandard frame does not say how long its content is")
        require_at_most(f"{spec} payload claims to decompress to", claimed, most_bytes)
        if claimed == 0:
            raise WireFormatError(f"{spec} payload: a Zstandard frame of nothing")
        return _contexts.decompressor.decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireFormatError(f"{spec} payload: not a Zstandard frame: {error}") from error


@dataclass(frozen=True)
class ZstdStage:
    """The stage: level and shuffle ("" for none)."""

    level: int = DEFAULT_LEVEL
    shuffle: str = ""

    def __str__(self) -> str:
        level = [] if self.level == DEFAULT_LEVEL else [str(self.level)]
        return ":".join(["zstd", *level, *filter(None, [self.shuffle])])

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        assert inner is not None  # the slots see to it
        return ZstdCodec(inner, self)


def _parse(stage: StageText) -> StageSpec:
    level, shuffle = DEFAULT_LEVEL, ""
    for place, argument in enumerate(stage.arguments):
        if place == 0 and argument.isdecimal() and 1 <= int(argument) <= MAX_LEVEL and argument[0] != "0":
            level = int(argument)
        elif not shuffle and argument in SHUFFLES:
            shuffle = argument
        else:
            raise stage.wrong(
                f"argument {argument!r} is not allowed here; known are a level of 1 to {MAX_LEVEL}, then "
                f"{' or '.join(SHUFFLES)}"
            )
    return ZstdStage(level, shuffle)


KIND = StageKind("zstd", Slot.ENTROPY, "zstd", _parse)
