"""Finding the ranges of a static calibration from samples of a boundary tensor.

minmax            all that was seen: nothing saturates on the samples
percentile:99.9   so much of each channel's values on either side of 0 stays inside
mse:4             the shrunken min-max range with the least squared error at that many bits, channel by channel
    rms:5.6           ± so many times the root mean square: with axis None one step for all channels, whose size is
                      the rate. Before an entropy stage (`int4:sym:static@…+zstd:19`) that is near the best a scalar
                      quantiser can do: channels with little to say cost little.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from tercet.codecs.calibration import Calibration, TensorCalibration
from tercet.codecs.codec import Float32Array, require_finite
from tercet.codecs.spec import parse_decimal
from tercet.errors import SpecError

_METHODS = "known are minmax, percentile:P (50 to 100), mse:BITS (2 to 8) and rms:TIMES"
# What percentile and mse look at; evenly taken from every sample.
_MAX_VALUES_PER_CHANNEL = 1 << 16
_SHRINKINGS = np.linspace(0.2, 1, 41)

_Float64Array = npt.NDArray[np.float64]


def calibrate(
    samples: Iterable[Float32Array],
    *,
    method: str = "minmax",
    tensor: str = "x",
    axis: Literal[1] | None = 1,
) -> Calibration:
    """Ranges of one tensor, from samples of it.

    Args:
        samples: (N, C, …) float32, finite, C the same in all; at least one with elements.
        method: see above.
        axis: 1 for a range per channel, None for one range in all.
    Raises:
        SpecError: an unknown method, no samples, or samples that do not fit each other.
        TensorContractError: NaN or infinity in a sample.
    """
    kind, _, argument = method.partition(":")
    number = parse_decimal(argument) if argument else None
    if not (
        method == "minmax"
        or (kind == "percentile" and number is not None and 50 <= number <= 100)
        or (kind == "mse" and number in range(2, 9))
        or (kind == "rms" and number is not None and number > 0)
    ):
        raise SpecError(f"calibration method {method!r} is unknown; {_METHODS}")
    rows = [_rows(sample, axis) for sample in samples if sample.size]
    if not rows or len({len(row) for row in rows}) != 1:
        raise SpecError("a calibration needs at least one sample, and the same channels on axis 1 in all of them")
    for row in rows:
        require_finite(row.min(), "calibration")
        require_finite(row.max(), "calibration")
    low = np.minimum(np.min([row.min(axis=1) for row in rows], axis=0), 0).astype(np.float64)
    high = np.maximum(np.max([row.max(axis=1) for row in rows], axis=0), 0).astype(np.float64)
    if kind == "percentile" and number is not None:
        low, high = _percentile_range(_thinned(rows), number)
    elif kind == "mse" and number is not None:
        low, high = _least_squares_range(_thinned(rows), low, high, int(number))
    elif kind == "rms" and number is not None:
        reach = number * np.sqrt(np.mean([np.square(row, dtype=np.float64).mean(axis=1) for row in rows], axis=0))
        low, high = -reach, reach
    # As float32 numbers, which any client holds exactly.
    low, high = low.astype(np.float32), high.astype(np.float32)
    part = TensorCalibration(tensor=tensor, axis=axis, low=tuple(low.tolist()), high=tuple(high.tolist()))
    return Calibration(method=method, tensors=(part,))


def join_calibrations(parts: Iterable[Calibration]) -> Calibration:
    """One calibration of a boundary with several tensors; SpecError if two are of the same one."""
    parts = tuple(parts)
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    if not tensors or len({tensor.tensor for tensor in tensors}) != len(tensors):
        raise SpecError("calibrations to join must be of different tensors, and at least one")
    return Calibration(method=", ".join(sorted({part.method for part in parts})), tensors=tensors)


def _rows(sample: Float32Array, axis: Literal[1] | None) -> Float32Array:
    """(C, n): one row a channel."""
    if axis is None:
        return sample.reshape(1, -1)
    if sample.ndim < 2:
        raise SpecError(f"a sample of shape {sample.shape} has no channels on axis 1; calibrate with axis=None")
    return np.moveaxis(sample, 1, 0).reshape(sample.shape[1], -1)


def _thinned(rows: list[Float32Array]) -> Float32Array:
    stride = sum(row.shape[1] for row in rows) // _MAX_VALUES_PER_CHANNEL + 1
    return np.concatenate([row[:, ::stride] for row in rows], axis=1)


def _percentile_range(values: Float32Array, percent: float) -> tuple[_Float64Array, _Float64Array]:
    low, high = np.percentile(values.astype(np.float64), [100 - percent, percent], axis=1)
    return np.minimum(low, 0), np.maximum(high, 0)


def _least_squares_range(
    values: Float32Array, low: _Float64Array, high: _Float64Array, bits: int
) -> tuple[_Float64Array, _Float64Array]:
    top = 2**bits - 1
    best_error = np.full(len(low), np.inf)
    best_low, best_high = low.copy(), high.copy()
    for shrinking in _SHRINKINGS:
        scale = np.maximum((high - low) * shrinking / top, 1e-30)
        zero_point = np.clip(np.rint(-low * shrinking / scale), 0, top)
        steps = np.rint(values / scale[:, np.newaxis])
        np.clip(steps, -zero_point[:, np.newaxis], (top - zero_point)[:, np.newaxis], out=steps)
        error = np.square(steps * scale[:, np.newaxis] - values).mean(axis=1)
        better = error < best_error
        best_error[better] = error[better]
        best_low[better], best_high[better] = low[better] * shrinking, high[better] * shrinking
    return best_low, best_high
