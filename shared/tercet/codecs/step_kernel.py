"""How static quantisation is computed: one interface, and the numpy implementation that defines the result.

Steps are clip(rint(x / scale) + zero_point, lowest, highest), exactly as ONNX's QuantizeLinear.
`tercet.inference.quantise_kernel` has a faster implementation with the same result.
"""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np

from tercet.codecs.codec import Float32Array, require_finite
from tercet.codecs.packing import Steps
from tercet.codecs.scales import Scales, expanded

# Values are quantised in blocks of this many, so that intermediate results stay in the processor's cache.
_BLOCK = 64 * 1024
# Channels with at least this many values in a row are fastest with one scale broadcast over each row.
_LONG_ROW = 4096


class _Scratch(threading.local):
    """A block of float32 that each thread keeps."""

    def __init__(self) -> None:
        self.block = np.empty(_BLOCK, np.float32)


_scratch = _Scratch()


class StepKernel(Protocol):
    """Computes steps. Implementations are thread-safe and give the same steps, bit for bit."""

    def __hash__(self) -> int: ...

    def steps(self, source: Float32Array, scales: Scales, spec: str) -> Steps:
        """Steps of a tensor.

        Args:
            source: contiguous, with elements, of a shape that `scales` fit; never modified.
            spec: the codec, for errors.
        Returns:
            (n,) uint8 in row-major order.
        Raises:
            TensorContractError: NaN or infinity.
        """
        ...


class NumpyKernel:
    """The definition."""

    def steps(self, source: Float32Array, scales: Scales, spec: str) -> Steps:
        """See `StepKernel.steps`."""
        steps = np.empty(source.size, np.uint8)
        row = source.size // (source.shape[0] * scales.channels) if scales.per_channel else 1
        if _LONG_ROW <= row <= _BLOCK:
            # One row a channel and item, and its scale beside it.
            per_block, repeats = _BLOCK // row, (source.shape[0], 1)
            values: Float32Array = source.reshape(-1, row)
            found: Steps = steps.reshape(-1, row)
            scale, zero_point = (
                np.tile(part.reshape(-1, 1), repeats) for part in (scales.scale, scales.zero_point)
            )
        else:
            per_block, values, found = _BLOCK, source.reshape(-1), steps
            scale, zero_point = expanded(scales, source.shape)
        with np.errstate(over="ignore"):
            for start in range(0, len(values), per_block):
                part = slice(start, start + per_block)
                own = part if len(scale) > 1 else slice(None)
                _saturate_block(values[part], scale[own], zero_point[own], scales, spec, found[part])
        return steps


def _saturate_block(
    source: Float32Array, scale: Float32Array, zero_point: Float32Array, scales: Scales, spec: str, out: Steps
) -> None:
    values = _scratch.block[: source.size].reshape(source.shape)
    np.divide(source, scale, out=values)
    np.rint(values, out=values)
    values += zero_point
    low, high = values.min(), values.max()
    if not (low >= scales.lowest and high <= scales.highest):  # true for NaN too
        if not (np.isfinite(low) and np.isfinite(high)):
            # A large finite value over a small scale overflows as well: ask the source itself.
            require_finite(source.min(), spec)
            require_finite(source.max(), spec)
        np.clip(values, np.float32(scales.lowest), np.float32(scales.highest), out=values)
    out[...] = values
