"""`int8`: affine 8-bit quantisation with one scale per channel, a quarter of the bytes plus 5 a channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import Array, EncodedTensor, element_count, require_finite_float32, require_size
from tercet.errors import WireFormatError

_SCALE = np.dtype("<f4")


def _channel_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The broadcast shape of one value per channel: axis 1 for rank >= 3 (N, C, …), one value otherwise."""
    if len(shape) < 3:
        return (1,) * len(shape)
    return tuple(size if axis == 1 else 1 for axis, size in enumerate(shape))


@dataclass(frozen=True)
class Int8Codec:
    """Maps each channel's [min, max], widened to contain 0, onto 0…255.

    Parameters on the wire: per channel a float32 scale (all scales first), then a uint8 zero point.
    Guarantee: |x - decode(encode(x))| <= scale / 2 (1 + 1e-3) of x's channel (tested); exact zeros stay exact.
    Source: Jacob et al. 2018, arXiv:1712.05877, eq. 1.
    """

    @property
    def spec(self) -> str:
        return "int8"

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: (N, C, …) or rank < 3, float32, finite (else TensorContractError); never modified."""
        source = require_finite_float32(array, self.spec)
        if source.size == 0:
            return EncodedTensor(b"")
        channel_shape = _channel_shape(source.shape)
        axes = tuple(axis for axis in range(source.ndim) if source.ndim < 3 or axis != 1)
        low = np.minimum(source.min(axis=axes), np.float32(0))
        high = np.maximum(source.max(axis=axes), np.float32(0))
        # Halved before subtracting so that a range over float32's largest value does not overflow.
        scale = np.asarray((high / 2 - low / 2) * np.float32(2 / 255), dtype=_SCALE)
        scale[...] = np.where(scale > np.finfo(np.float32).tiny, scale, np.float32(1))
        zero_point = np.asarray(np.rint(-low / scale), dtype=np.uint8)
        steps = source / scale.reshape(channel_shape)
        np.rint(steps, out=steps)
        steps += zero_point.reshape(channel_shape)
        np.clip(steps, 0, 255, out=steps)
        values = steps.astype(np.uint8)
        return EncodedTensor(values.reshape(-1).data, scale.tobytes() + zero_point.tobytes())

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        count = element_count(shape)
        require_size("int8 payload", len(encoded.payload), count)
        if count == 0:
            return np.empty(shape, np.float32)
        channel_shape = _channel_shape(shape)
        channels = element_count(channel_shape)
        require_size("int8 parameters", len(encoded.parameters), channels * (_SCALE.itemsize + 1))
        scale = np.frombuffer(encoded.parameters, _SCALE, channels)
        zero_point = np.frombuffer(encoded.parameters, np.uint8, channels, channels * _SCALE.itemsize)
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise WireFormatError("int8 parameters: scales must be finite and positive")
        values = np.frombuffer(encoded.payload, np.uint8).reshape(shape).astype(np.float32)
        values -= zero_point.astype(np.float32).reshape(channel_shape)
        values *= scale.reshape(channel_shape)
        return values
