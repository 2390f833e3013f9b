"""Finding the transform of a `klt` codec from samples of a boundary tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tercet.codecs.calibration import Calibration
from tercet.codecs.codec import Float32Array, require_finite
from tercet.codecs.cosine import to_frequencies
from tercet.codecs.transform_calibration import (
    MAX_MIXED_CHANNELS,
    TensorTransform,
    packed_floats,
    packed_int8,
)
from tercet.errors import SpecError

# Of a coefficient's size, how much is its own mean and how much what its component and frequency say together.
_OWN_SHARE = 0.75
# Nothing counts for more than so many times the average, nor less than its inverse.
_LARGEST_WEIGHT = 5.0
_SMALLEST_MAGNITUDE = 1e-6


def fit_transform(
    samples: Sequence[Float32Array],
    *,
    tensor: str = "x",
    importance: npt.NDArray[np.floating] | None = None,
    tone_importance: npt.NDArray[np.floating] | None = None,
) -> Calibration:
    """The transform of one tensor.

    Args:
        samples: (N, C, …) float32, finite, the same shape after N; at least one with elements.
        importance: (C,) not negative: how much a squared error in that channel does to the model's output, in any
            unit; None if all count the same.
        tone_importance: (…), the same for the frequencies of `cosine.py`.
    Raises:
        SpecError: no samples, samples of different shapes, or importance of another length.
        TensorContractError: NaN or infinity in a sample.
    """
    samples = [sample for sample in samples if sample.size]
    if not samples or samples[0].ndim < 2 or len({sample.shape[1:] for sample in samples}) != 1:
        raise SpecError("a transform needs at least one sample (N, C, …), and one shape after N in all of them")
    values = np.concatenate(samples).astype(np.float32, copy=False)
    require_finite(values.min(), "klt calibration")
    require_finite(values.max(), "klt calibration")
    shape, channels = values.shape[1:], values.shape[1]
    weights = _weights(importance, (channels,), "importance")
    tones = _weights(tone_importance, shape[1:], "tone_importance")
    flat = values.reshape(len(values), channels, -1) * weights[:, np.newaxis]
    mean = flat.mean(axis=(0, 2), dtype=np.float64).astype(np.float32)
    flat -= mean[:, np.newaxis]
    basis = _principal_basis(flat) if 1 < channels <= MAX_MIXED_CHANNELS else None
    mixed = flat if basis is None else basis @ flat
    coefficients = np.abs(to_frequencies(mixed.reshape(values.shape)) * tones)
    magnitudes = _magnitudes(coefficients.mean(axis=0, dtype=np.float64).reshape(channels, -1))
    unit = max(float(np.sqrt(np.square(flat, dtype=np.float64).mean())), 1e-12)
    scales = np.rint(4 * np.log2(np.maximum(magnitudes / unit, _SMALLEST_MAGNITUDE)))
    part = TensorTransform(
        tensor=tensor,
        shape=shape,
        unit=float(np.float32(unit)),
        mean=packed_floats(mean),
        weights=packed_floats(weights),
        tones=packed_floats(tones),
        basis=None if basis is None else packed_floats(basis),
        scales=packed_int8(np.clip(scales, -127, 127).astype(np.int8)),
    )
    return Calibration(method="transform", tensors=(part,))


def _weights(importance: npt.NDArray[np.floating] | None, shape: tuple[int, ...], what: str) -> Float32Array:
    if importance is None:
        return np.ones(shape, np.float32)
    if importance.shape != shape or not np.isfinite(importance).all() or importance.min() < 0:
        raise SpecError(f"{what} must be finite numbers of shape {shape}, none negative")
    average = max(float(importance.mean()), 1e-30)
    relative = np.sqrt(importance / average).astype(np.float32)
    weights: Float32Array = np.clip(relative, 1 / _LARGEST_WEIGHT, _LARGEST_WEIGHT)
    return weights


def _principal_basis(flat: Float32Array) -> Float32Array:
    """(C, C): eigenvectors of the covariance of centred (N, C, n), the largest first, as rows."""
    rows = np.moveaxis(flat, 1, 0).reshape(flat.shape[1], -1).astype(np.float64)
    _, vectors = np.linalg.eigh(rows @ rows.T / rows.shape[1])
    return np.ascontiguousarray(vectors[:, ::-1].T.astype(np.float32))


def _magnitudes(own: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(C, n): mean magnitudes, steadied by the product of what component and frequency have on average."""
    average = max(float(own.mean()), 1e-30)
    product = own.mean(axis=1, keepdims=True) * own.mean(axis=0, keepdims=True) / average
    steadied: npt.NDArray[np.float64] = _OWN_SHARE * own + (1 - _OWN_SHARE) * product
    return steadied
