"""`int8`: affine 8-bit quantisation with one scale per channel, a quarter of the bytes plus 5 a channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import (
    Array,
    Codec,
    EncodedTensor,
    Float32Array,
    contiguous_float32,
    element_count,
    require_finite,
    require_size,
)
from tercet.codecs.spec import StageText
from tercet.codecs.stage import BuildContext, Slot, StageKind, StageSpec
from tercet.errors import WireFormatError

_SCALE = np.dtype("<f4")
# A range is a thousandth of a step short of 0…255, so that no rounding leaves it and nothing needs clipping.
_STEPS = 254.999
_LARGEST = np.float32(np.finfo(np.float32).max)
_SMALLEST_SCALE = np.float32(np.finfo(np.float32).tiny)


def _channel_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The broadcast shape of one value per channel: axis 1 for rank >= 3 (N, C, …), one value otherwise."""
    if len(shape) < 3:
        return (1,) * len(shape)
    return tuple(size if axis == 1 else 1 for axis, size in enumerate(shape))


def _ranges(source: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Each channel's minimum and maximum, (channels,), widened to contain 0."""
    if source.ndim < 3:
        low, high = source.min(keepdims=True).reshape(1), source.max(keepdims=True).reshape(1)
    else:
        axes = (0, *range(2, source.ndim))
        low, high = source.min(axis=axes), source.max(axis=axes)
    return np.minimum(low, 0, out=low), np.maximum(high, 0, out=high)


@dataclass(frozen=True)
class Int8Codec:
    """Maps each channel's [min, max], widened to contain 0, onto 0…255.

    Parameters on the wire: per channel a float32 scale (all scales first), then a uint8 zero point.
    Guarantee: |x - decode(encode(x))| <= scale / 2 (1 + 1e-3) of x's channel (tested); exact zeros stay exact.
    A channel whose range is below 255 * 2**-126, where float32 steps would be subnormal, becomes all zeros.
    Source: Jacob et al. 2018, arXiv:1712.05877, eq. 1.
    """

    @property
    def spec(self) -> str:
        return "int8"

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: (N, C, …) or rank < 3, float32, finite (else TensorContractError); never modified."""
        source = contiguous_float32(array, self.spec)
        if source.size == 0:
            return EncodedTensor(b"")
        low, high = _ranges(source)
        # Halved before subtracting so that a range over float32's largest value does not overflow.
        half = np.float32(0.5)
        scale = (high * half - low * half) * np.float32(2 / _STEPS)
        require_finite(scale, self.spec)
        scale[scale <= _SMALLEST_SCALE] = 1
        zero_point = np.rint(-low / scale)
        channel_shape = _channel_shape(source.shape)
        steps = source / scale.reshape(channel_shape)
        # Add a half, and let the conversion drop the fraction: rounds without a pass of its own.
        steps += (zero_point + half).reshape(channel_shape)
        values = steps.astype(np.uint8)
        parameters = scale.astype(_SCALE, copy=False).tobytes() + zero_point.astype(np.uint8).tobytes()
        return EncodedTensor(values.reshape(-1).data, parameters)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return element_count(shape)

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        count = element_count(shape)
        require_size("int8 payload", len(encoded.payload), count)
        channel_shape = _channel_shape(shape)
        channels = element_count(channel_shape) if count else 0
        require_size("int8 parameters", len(encoded.parameters), channels * (_SCALE.itemsize + 1))
        if count == 0:
            return np.empty(shape, np.float32)
        scale = np.frombuffer(encoded.parameters, _SCALE, channels)
        zero_point = np.frombuffer(encoded.parameters, np.uint8, channels, channels * _SCALE.itemsize)
        largest_scale = scale.max()
        if not (scale.min() > 0 and largest_scale <= _LARGEST):  # false for NaN too
            raise WireFormatError("int8 parameters: scales must be finite and positive")
        values = np.frombuffer(encoded.payload, np.uint8).reshape(shape).astype(np.float32)
        values -= zero_point.astype(np.float32).reshape(channel_shape)
        if largest_scale <= _LARGEST / 255:
            values *= scale.reshape(channel_shape)
            return values
        # The outermost steps of such a channel reach past the largest float32.
        with np.errstate(over="ignore"):
            values *= scale.reshape(channel_shape)
        return np.clip(values, -_LARGEST, _LARGEST, out=values)


@dataclass(frozen=True)
class Int8Format:
    """The stage `int8`."""

    def __str__(self) -> str:
        return "int8"

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        return Int8Codec()


def _parse(stage: StageText) -> StageSpec:
    stage.without_arguments()
    return Int8Format()


KIND = StageKind("int8", Slot.FORMAT, "int8", _parse)
