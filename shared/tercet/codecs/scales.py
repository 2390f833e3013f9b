"""Scales and zero points of intN: found in a frame, made from a calibration, written to and read from the wire."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Protocol

import numpy as np

from tercet.codecs.calibration import TensorCalibration
from tercet.codecs.codec import Float32Array, require_finite
from tercet.errors import WireFormatError

_SCALE = np.dtype("<f4")
# A range is a thousandth of a step short of all steps, so that no rounding leaves it and nothing needs clipping.
_SHORT = 0.001
LARGEST = np.float32(np.finfo(np.float32).max)
_SMALLEST_SCALE = np.float32(np.finfo(np.float32).tiny)
# Of the scales kept at full size, for each of the few kept.
_MAX_KEPT_VALUES = 1 << 18


class Form(Protocol):
    """What of an intN stage decides its scales."""

    @property
    def bits(self) -> int: ...
    @property
    def symmetric(self) -> bool: ...
    @property
    def per_channel(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class Scales:
    """scale (C,) float32, finite and positive; zero_point (C,) float32, whole steps; C is 1 without `per_channel`.

    `lowest` and `highest` are the steps at which values saturate.
    """

    scale: Float32Array
    zero_point: Float32Array
    per_channel: bool
    lowest: int
    highest: int

    @property
    def channels(self) -> int:
        return len(self.scale)

    @property
    def largest(self) -> np.float32:
        return np.float32(self.scale.max(initial=0))

    def fit(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of `shape` has as many channels."""
        return not self.per_channel or (len(shape) >= 2 and shape[1] == self.channels)

    def spread(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which scales broadcast over a tensor of `shape`."""
        if not self.per_channel:
            return (1,) * len(shape)
        return tuple(size if axis == 1 else 1 for axis, size in enumerate(shape))

    def to_bytes(self, symmetric: bool) -> bytes:
        """All scales as float32, then, unless symmetric, all zero points as uint8."""
        scales = self.scale.astype(_SCALE, copy=False).tobytes()
        return scales if symmetric else scales + self.zero_point.astype(np.uint8).tobytes()


def expanded(scales: Scales, shape: tuple[int, ...]) -> tuple[Float32Array, Float32Array]:
    """Scale and zero point of every element, (n,) each, or (1,) if all are the same. Small ones are kept."""
    if scales.channels == 1:
        return scales.scale, scales.zero_point
    return _keep_expanded(scales, shape) if prod(shape) <= _MAX_KEPT_VALUES else _expand(scales, shape)


def _expand(scales: Scales, shape: tuple[int, ...]) -> tuple[Float32Array, Float32Array]:
    spread = scales.spread(shape)
    scale, zero_point = (
        np.broadcast_to(values.reshape(spread), shape).reshape(-1) for values in (scales.scale, scales.zero_point)
    )
    return scale, zero_point


# One list for all codecs: what peers can make this process remember is bounded.
_keep_expanded = lru_cache(maxsize=32)(_expand)


def scale_bytes(symmetric: bool) -> int:
    """Wire bytes a channel."""
    return _SCALE.itemsize + (0 if symmetric else 1)


def channel_shape(shape: tuple[int, ...], per_channel: bool) -> tuple[int, ...]:
    """The broadcast shape of one value per channel: axis 1 for rank >= 3 (N, C, …), one value otherwise."""
    if not per_channel or len(shape) < 3:
        return (1,) * len(shape)
    return tuple(size if axis == 1 else 1 for axis, size in enumerate(shape))


def frame_scales(source: Float32Array, form: Form, spec: str) -> Scales:
    """Scales that just hold `source`, which has elements; TensorContractError for NaN or infinity."""
    per_channel = prod(channel_shape(source.shape, form.per_channel)) > 1
    if per_channel:
        rows = source.reshape(source.shape[0], source.shape[1], -1)
        low, high = rows.min(axis=2).min(axis=0), rows.max(axis=2).max(axis=0)
    else:
        flat = source.reshape(-1)
        low, high = flat.min(keepdims=True), flat.max(keepdims=True)
    half = np.float32(0.5)
    if form.symmetric:
        scale = np.maximum(-low, high) * np.float32(1 / (2 ** (form.bits - 1) - 1))
    else:
        np.minimum(low, 0, out=low)
        np.maximum(high, 0, out=high)
        # Halved before subtracting so that a range over float32's largest value does not overflow.
        scale = (high * half - low * half) * np.float32(2 / (2**form.bits - 1 - _SHORT))
    require_finite(scale, spec)
    scale[scale <= _SMALLEST_SCALE] = 1
    middle = 2 ** (form.bits - 1)
    zero_point = np.full_like(scale, middle) if form.symmetric else np.rint(-low / scale)
    return Scales(scale, zero_point, per_channel, 0, 2**form.bits - 1)


def calibrated_scales(ranges: TensorCalibration, form: Form) -> Scales:
    """Scales of a calibration, computed in float64: the same for every client (docs/wire.md has the rule)."""
    low, high = np.array(ranges.low, np.float64), np.array(ranges.high, np.float64)
    if form.symmetric:
        scale = (np.maximum(-low, high) / (2 ** (form.bits - 1) - 1)).astype(np.float32)
    else:
        scale = ((high - low) / (2**form.bits - 1)).astype(np.float32)
    scale[scale <= _SMALLEST_SCALE] = 1
    if form.symmetric:
        zero_point = np.full_like(scale, 2 ** (form.bits - 1))
    else:
        zero_point = np.clip(np.rint(-low / scale), 0, 2**form.bits - 1).astype(np.float32)
    lowest = 1 if form.symmetric else 0
    return Scales(scale, zero_point, ranges.axis is not None, lowest, 2**form.bits - 1)


def read_scales(parameters: bytes, channels: int, form: Form, spec: str) -> Scales:
    """Scales from the wire; WireFormatError unless finite and positive, and zero points among the steps."""
    scale = np.frombuffer(parameters, _SCALE, channels).astype(np.float32, copy=False)
    if channels and not (scale.min() > 0 and scale.max() <= LARGEST):  # false for NaN too
        raise WireFormatError(f"{spec} parameters: scales must be finite and positive")
    if form.symmetric:
        zero_point = np.full(channels, 2 ** (form.bits - 1), np.float32)
    else:
        found = np.frombuffer(parameters, np.uint8, channels, channels * _SCALE.itemsize)
        if channels and int(found.max()) >> form.bits:
            raise WireFormatError(f"{spec} parameters: a zero point is not among the steps")
        zero_point = found.astype(np.float32)
    return Scales(scale, zero_point, channels > 1, 0, 2**form.bits - 1)
