"""The orthonormal cosine transform over all axes but the first two: gathers what is smooth in few numbers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tercet.codecs.codec import Float32Array


def to_frequencies(array: Float32Array) -> Float32Array:
    """Args: array: (N, C, …) float32. Returns the same shape, coefficient 0 of each axis the smoothest."""
    return _along_axes(array, inverse=False)


def from_frequencies(array: Float32Array) -> Float32Array:
    """The inverse of `to_frequencies`."""
    return _along_axes(array, inverse=True)


def _along_axes(array: Float32Array, *, inverse: bool) -> Float32Array:
    for axis in range(2, array.ndim):
        matrix = _matrix(array.shape[axis])
        if axis == array.ndim - 1:
            array = array @ (matrix if inverse else matrix.T)
        else:
            rest = array.shape[axis + 1 :]
            rows = array.reshape(*array.shape[: axis + 1], -1)
            array = ((matrix.T if inverse else matrix) @ rows).reshape(*rows.shape[:-1], *rest)
    return array


@lru_cache(maxsize=32)
def _matrix(size: int) -> Float32Array:
    """(size, size) float32: row k is frequency k. Source: DCT-II, Ahmed et al. 1974, IEEE Trans. Computers C-23."""
    places, frequencies = np.arange(size) + 0.5, np.arange(size)[:, np.newaxis]
    matrix = np.cos(np.pi / size * places * frequencies) * np.sqrt(2 / size)
    matrix[0] /= np.sqrt(2)
    narrow: Float32Array = matrix.astype(np.float32)
    return narrow
