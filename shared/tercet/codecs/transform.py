"""`klt`: channels mixed, space turned to frequencies, one step for all, and each coefficient at its information.

    klt:12:static@DIGEST12      quality 0 … 60: every 4 halve the step

A calibration (`transform_fit.py`) holds the Karhunen–Loève transform of the channels, in which they are not
correlated; a cosine transform does nearly the same for neighbours in space. Coefficients are rounded to one step,
and coded (`ans.py`) with the table (`laplace_tables.py`) of the size that they had on the calibration's samples.
Source: transform coding, Goyal 2001, IEEE Signal Processing Magazine 18(5), 9–21.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

from tercet.codecs.ans import STATE_BYTES, decode_symbols, encode_symbols
from tercet.codecs.calibration import DIGEST_CHARS
from tercet.codecs.codec import (
    Array,
    Codec,
    EncodedTensor,
    Float32Array,
    contiguous_float32,
    element_count,
    require_at_most,
    require_finite,
    require_size,
)
from tercet.codecs.cosine import from_frequencies, to_frequencies
from tercet.codecs.laplace_tables import HIGHEST, LOWEST, PRECISION_BITS, top_of
from tercet.codecs.outliers import pack_outliers, restore_outliers
from tercet.codecs.spec import StageText
from tercet.codecs.stage import BuildContext, Slot, StageKind, StageSpec
from tercet.codecs.transform_calibration import TensorTransform
from tercet.errors import SpecError, TensorContractError, WireFormatError

MAX_QUALITY = 60
# Multiplications up to which OpenBLAS stays in the calling thread.
_SINGLE_THREADED = 1 << 18


@dataclass(frozen=True)
class TransformCodec:
    """Takes tensors (N, C, …) float32 whose shape after N is the calibration's.

    Guarantee (tested): with step = unit * 2**(-quality / 4), every coefficient comes back within half a step, so
    the root mean square of weight * |x - decode(encode(x))| is at most half a step, divided by the smallest tone,
    plus float32 rounding. There is no bound for a single element. Coefficients beyond their table, 64 times what
    the calibration saw on average, cost 8 bytes each (`outliers.py`); a tensor with very many is refused.
    """

    stage: TransformFormat
    transform: TensorTransform

    @property
    def spec(self) -> str:
        return str(self.stage)

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: finite, and something like the calibration's (else TensorContractError); never modified."""
        source = contiguous_float32(array, self.spec)
        if source.shape[1:] != self.transform.shape or source.ndim == 0:
            raise TensorContractError(
                f"codec {self.spec} is calibrated for shape {self.transform.shape} after the first axis, "
                f"this tensor is {source.shape}"
            )
        if source.size == 0:
            return EncodedTensor(b"")
        require_finite(source.min(), self.spec)
        require_finite(source.max(), self.spec)
        with np.errstate(over="ignore", invalid="ignore"):
            coefficients = self._coefficients(source)
            steps = coefficients.reshape(len(source), -1)[:, self._layout.order]
            steps *= np.float32(1 / self._step)
            np.rint(steps, out=steps)
        tops = self._layout.tops
        outliers = pack_outliers(steps, tops, self.spec)
        np.clip(steps, -tops, tops, out=steps)
        steps += tops
        symbols = steps.astype(np.int32)
        parts = [(table, np.ascontiguousarray(symbols[:, part]).reshape(-1)) for table, part in self._layout.parts]
        return EncodedTensor(encode_symbols(parts), outliers)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return element_count(shape) * (PRECISION_BITS // 8) + STATE_BYTES if element_count(shape) else 0

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        if len(shape) == 0 or shape[1:] != self.transform.shape:
            raise WireFormatError(f"codec {self.spec} is calibrated for {self.transform.shape}, not {shape}")
        require_at_most(f"{self.spec} payload", len(encoded.payload), self.max_payload_bytes(dtype, shape))
        rows = shape[0]
        if rows == 0:
            require_size(f"{self.spec} parameters", len(encoded.parameters), 0)
            return np.empty(shape, np.float32)
        sizes = [(table, rows * (part.stop - part.start)) for table, part in self._layout.parts]
        found = decode_symbols(encoded.payload, sizes, self.spec)
        symbols = np.concatenate([part.reshape(rows, -1) for part in found], axis=1, dtype=np.float32)
        symbols -= self._layout.tops
        restore_outliers(encoded.parameters, symbols, self._layout.tops, self.spec)
        symbols *= np.float32(self._step)
        coefficients = np.empty((rows, prod(shape[1:])), np.float32)
        coefficients[:, self._layout.order] = symbols
        return self._values(coefficients.reshape(shape))

    @property
    def _step(self) -> float:
        return float(self.transform.unit * 2 ** (-self.stage.quality / 4))

    @cached_property
    def _layout(self) -> _Layout:
        return _Layout.of(self.transform, self.stage.quality)

    @cached_property
    def _mixing(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Forward (C, C), its inverse (C, C), and the mean (C, 1) to subtract before, in the source's units."""
        weights = self.transform.weight_array
        basis = self.transform.basis_array
        if basis is None:
            basis = np.eye(len(weights), dtype=np.float32)
        mean = self.transform.mean_array / weights
        return basis * weights, np.ascontiguousarray(basis.T / weights[:, np.newaxis]), mean[:, np.newaxis]

    def _coefficients(self, source: Float32Array) -> Float32Array:
        forward, _, mean = self._mixing
        flat = source.reshape(*source.shape[:2], -1)
        centred = flat - mean
        mixed = centred * self.transform.weight_array[:, np.newaxis] if self._plain else _product(forward, centred)
        coefficients = to_frequencies(mixed.reshape(source.shape))
        coefficients *= self._tones
        return coefficients

    def _values(self, coefficients: Float32Array) -> Float32Array:
        _, backward, mean = self._mixing
        shape = coefficients.shape
        mixed = from_frequencies(coefficients / self._tones).reshape(*shape[:2], -1)
        values = mixed / self.transform.weight_array[:, np.newaxis] if self._plain else _product(backward, mixed)
        values += mean
        return values.reshape(shape)

    @cached_property
    def _tones(self) -> Float32Array:
        return self.transform.tone_array.reshape(self.transform.shape[1:])

    @property
    def _plain(self) -> bool:
        return self.transform.basis is None


def _product(matrix: Float32Array, columns: Float32Array) -> Float32Array:
    """matrix (C, C) @ columns (N, C, n), so few columns at a time that no BLAS wakes other threads for it.

    Threads that wake and spin for a tenth of a millisecond's work cost many times that where cores are busy.
    """
    product = np.empty_like(columns)
    width = max(1, _SINGLE_THREADED // matrix.size)
    for start in range(0, columns.shape[2], width):
        part = slice(start, start + width)
        product[:, :, part] = matrix @ columns[:, :, part]
    return product


@dataclass(frozen=True, eq=False)
class _Layout:
    """In which order coefficients are coded: by table, then as they lie.

    `order` (n,) places of the coefficients; `tops` (n,) the largest step of each, in that order; `parts` each table
    with its part of the order.
    """

    order: npt.NDArray[np.intp]
    tops: Float32Array
    parts: tuple[tuple[int, slice], ...]

    @classmethod
    def of(cls, transform: TensorTransform, quality: int) -> _Layout:
        tables = np.clip(transform.scale_array.astype(np.int64) + quality, LOWEST, HIGHEST)
        order = np.argsort(tables, kind="stable")
        found, starts = np.unique(tables[order], return_index=True)
        stops = [*starts[1:].tolist(), len(order)]
        parts = tuple(
            (int(table), slice(int(start), int(stop)))
            for table, start, stop in zip(found, starts, stops, strict=True)
        )
        tops = np.empty(len(order), np.float32)
        for table, part in parts:
            tops[part] = top_of(table)
        return cls(order, tops, parts)


@dataclass(frozen=True)
class TransformFormat:
    """The stage."""

    quality: int
    digest: str

    def __str__(self) -> str:
        return f"klt:{self.quality}:static@{self.digest}"

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        if context.calibrations is None:
            raise SpecError(f"codec {self}: there are no calibrations here to find {self.digest} in")
        part = context.calibrations.calibration(self.digest).of_tensor(context.tensor)
        if not isinstance(part, TensorTransform):
            raise SpecError(
                f"codec {self}: calibration {self.digest} holds ranges, for intN; klt needs a transform"
            )
        return TransformCodec(self, part)


def _parse(stage: StageText) -> StageSpec:
    known = "write klt:QUALITY:static@DIGEST, e.g. klt:12:static@0123456789ab, with a quality of 0 to 60"
    if len(stage.arguments) != 2:
        raise stage.wrong(known)
    quality, (name, _, digest) = stage.arguments[0], stage.arguments[1].partition("@")
    if (
        not (quality.isascii() and quality.isdecimal() and str(int(quality)) == quality)
        or int(quality) > MAX_QUALITY
    ):
        raise stage.wrong(known)
    if name != "static" or len(digest) != DIGEST_CHARS or set(digest) - set("0123456789abcdef"):
        raise stage.wrong(known)
    return TransformFormat(int(quality), digest)


KIND = StageKind("klt", Slot.FORMAT, "klt", _parse, alone=True)
