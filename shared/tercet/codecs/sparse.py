"""Magnitude sparsification before a number format: small values become 0 and cost (almost) nothing.

    top10%     keeps the ceil(10 % of n) elements of largest |x|; among equals those that come first
    thr0.05    keeps |x| >= 0.05

Payload: how positions are coded (1 byte, see `positions`), number of kept elements (4 bytes), positions, then the
kept values, in order, as the inner codec codes a tensor of one dimension. Zeros are never kept: nobody can tell.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from tercet.codecs.codec import (
    Array,
    Codec,
    EncodedTensor,
    Float32Array,
    contiguous_float32,
    element_count,
    require_finite,
)
from tercet.codecs.positions import Positions, decode_positions, encode_positions, max_position_bytes
from tercet.codecs.spec import StageText, format_decimal, parse_decimal
from tercet.codecs.stage import BuildContext, Slot, StageKind, StageSpec
from tercet.errors import WireFormatError

_HEAD = struct.Struct("<BI")
# Above this many elements a sample tells about where the threshold lies.
_SAMPLED = 8192


@dataclass(frozen=True)
class SparseCodec:
    """Kept elements come back as the inner codec has them, all others as exactly 0 (tested)."""

    inner: Codec
    stage: TopStage | ThresholdStage

    @property
    def spec(self) -> str:
        return f"{self.stage}+{self.inner.spec}"

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: any shape, float32, finite (else TensorContractError); never modified."""
        source = contiguous_float32(array, self.spec).reshape(-1)
        if source.size == 0:
            return EncodedTensor(b"")
        magnitudes = np.abs(source)
        require_finite(magnitudes.max(), self.spec)
        positions = self.stage.keep(magnitudes)
        flag, coded = encode_positions(positions, source.size)
        values = self.inner.encode(source[positions])
        return EncodedTensor(b"".join([_HEAD.pack(flag, len(positions)), coded, values.payload]), values.parameters)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        count = element_count(shape)
        if count == 0:
            return 0
        return _HEAD.size + max_position_bytes(count) + self.inner.max_payload_bytes(dtype, (count,))

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        count = element_count(shape)
        if count == 0 and not encoded.payload:
            return self.inner.decode(encoded, dtype, shape)
        payload = memoryview(encoded.payload)
        if len(payload) < _HEAD.size:
            raise WireFormatError(
                f"{self.spec} payload: {len(payload)} bytes, where the head alone has {_HEAD.size}"
            )
        flag, kept = _HEAD.unpack_from(payload)
        if kept > count:
            raise WireFormatError(f"{self.spec} payload: {kept} elements kept of {count}")
        positions, taken = decode_positions(flag, payload[_HEAD.size :], kept, count)
        values = EncodedTensor(payload[_HEAD.size + taken :], encoded.parameters)
        array = np.zeros(count, np.float32)
        array[positions] = self.inner.decode(values, dtype, (kept,))
        return array.reshape(shape)


@dataclass(frozen=True)
class TopStage:
    """Keep a share of the elements, in percent."""

    percent: float

    def __str__(self) -> str:
        return f"top{format_decimal(self.percent)}%"

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        assert inner is not None  # the slots see to it
        return SparseCodec(inner, self)

    def kept(self, count: int) -> int:
        """How many of `count` elements stay at most; exact, as the decimal is written."""
        return ceil(Fraction(format_decimal(self.percent)) * count / 100)

    def keep(self, magnitudes: Float32Array) -> Positions:
        kept = self.kept(magnitudes.size)
        if kept >= magnitudes.size:
            return np.flatnonzero(magnitudes)
        candidates = np.flatnonzero(magnitudes >= _floor(magnitudes, kept))
        if len(candidates) <= kept:
            # The floor was too high, unless there are no more than these that are not zero.
            candidates = np.flatnonzero(magnitudes)
            if len(candidates) <= kept:
                return candidates
        values = magnitudes[candidates]
        smallest = np.partition(values, len(values) - kept)[len(values) - kept]
        chosen = values > smallest
        ties = np.flatnonzero(values == smallest)
        chosen[ties[: kept - np.count_nonzero(chosen)]] = True
        positions: Positions = candidates[chosen]
        return positions


def _floor(magnitudes: Float32Array, kept: int) -> np.float32:
    """A positive value that somewhat more than `kept` elements very likely reach, from a sample of them."""
    tiny = np.float32(np.finfo(np.float32).smallest_subnormal)
    if magnitudes.size <= _SAMPLED:
        return tiny
    sample = magnitudes[:: magnitudes.size // _SAMPLED + 1]
    expected = kept / magnitudes.size * len(sample)
    rank = int(expected + 4 * expected**0.5 + 8)
    if rank >= len(sample):
        return tiny
    return max(tiny, np.partition(sample, len(sample) - rank)[len(sample) - rank])


@dataclass(frozen=True)
class ThresholdStage:
    """Keep what is at least this large, in the tensor's own unit."""

    threshold: float

    def __str__(self) -> str:
        return f"thr{format_decimal(self.threshold)}"

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        assert inner is not None  # the slots see to it
        return SparseCodec(inner, self)

    def keep(self, magnitudes: Float32Array) -> Positions:
        return np.flatnonzero(magnitudes >= np.float32(self.threshold))


def _parse_top(stage: StageText) -> StageSpec:
    stage.without_arguments()
    percent = parse_decimal(stage.name.removeprefix("top").removesuffix("%"))
    if not stage.name.endswith("%") or percent is None or not 0 < percent <= 100:
        raise stage.wrong("write top and a share above 0 and up to 100 %, e.g. top10% or top2.5%")
    return TopStage(percent)


def _parse_threshold(stage: StageText) -> StageSpec:
    stage.without_arguments()
    threshold = parse_decimal(stage.name.removeprefix("thr"))
    if threshold is None or threshold <= 0:
        raise stage.wrong("write thr and a plain number above 0, e.g. thr0.05")
    return ThresholdStage(threshold)


KINDS = (
    StageKind("top10%", Slot.SPARSIFY, r"top[0-9.]*%?", _parse_top),
    StageKind("thr0.05", Slot.SPARSIFY, r"thr[0-9.]*", _parse_threshold),
)
