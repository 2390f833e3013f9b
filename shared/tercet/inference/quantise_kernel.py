"""Static quantisation by ONNX Runtime's QuantizeLinear, as a tiny graph of its own beside the segments.

Appended to a segment it would be a little faster still, but then a block could not be shared by plans with
different codecs. The result equals the numpy codec's bit for bit (tested); which of the two is faster depends on
machine and size, so `MeasuredKernel` times both on the first tensors of each size and keeps the faster.
"""

from __future__ import annotations

import threading
import time
from functools import cache
from importlib import resources

import numpy as np

from tercet.codecs.codec import Float32Array, require_finite
from tercet.codecs.packing import Steps
from tercet.codecs.scales import Scales
from tercet.codecs.step_kernel import NumpyKernel, StepKernel
from tercet.inference.segment_chain import DEFAULT_PROVIDERS, open_session

GRAPH = "quantize_linear.onnx"
_TRIALS = 5


@cache
def static_kernel() -> StepKernel:
    """The process's kernel: one session and one set of measurements for all models."""
    return MeasuredKernel()


class OnnxRuntimeKernel:
    """`StepKernel` over one ONNX Runtime session, which takes scales as inputs and so serves every calibration."""

    def __init__(self) -> None:
        graph = resources.files("tercet.inference").joinpath(GRAPH).read_bytes()
        self._session = open_session(graph, 1, DEFAULT_PROVIDERS)

    def steps(self, source: Float32Array, scales: Scales, spec: str) -> Steps:
        """See `StepKernel.steps`."""
        flat = source.reshape(-1)
        # NaN and infinity survive the sum of squares; so may an overflow of large finite values: ask then.
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.dot(flat, flat)
        if not np.isfinite(squares):
            require_finite(flat.min(), spec)
            require_finite(flat.max(), spec)
        rows = source.shape[0] if scales.per_channel else 1
        (steps,) = self._session.run(
            ["steps"],
            {
                "x": source.reshape(rows, scales.channels, -1),
                "scale": scales.scale,
                "zero_point": scales.zero_point.astype(np.uint8),
            },
        )
        # The kernel saturates at 0 and 255.
        if scales.lowest > 0:
            np.maximum(steps, scales.lowest, out=steps)
        if scales.highest < 255:
            np.minimum(steps, scales.highest, out=steps)
        flat_steps: Steps = steps.reshape(-1)
        return flat_steps


class MeasuredKernel:
    """The faster of the numpy and the ONNX Runtime kernel, by measurement on the tensors that come.

    Thread-safe. The first tensors of each size are quantised by both in turn; all give the same steps.
    """

    def __init__(self) -> None:
        self._kernels: tuple[StepKernel, ...] = (NumpyKernel(), OnnxRuntimeKernel())
        self._times_s: dict[int, list[list[float]]] = {}
        self._fastest: dict[int, StepKernel] = {}
        self._lock = threading.Lock()

    def steps(self, source: Float32Array, scales: Scales, spec: str) -> Steps:
        """See `StepKernel.steps`."""
        size_class = source.size.bit_length()
        kernel = self._fastest.get(size_class)
        return kernel.steps(source, scales, spec) if kernel else self._try(source, scales, spec, size_class)

    def _try(self, source: Float32Array, scales: Scales, spec: str, size_class: int) -> Steps:
        with self._lock:
            times_s = self._times_s.setdefault(size_class, [[] for _ in self._kernels])
            turn = min(range(len(self._kernels)), key=lambda index: len(times_s[index]))
            began_s = time.perf_counter()
            steps = self._kernels[turn].steps(source, scales, spec)
            times_s[turn].append(time.perf_counter() - began_s)
            if all(len(times) >= _TRIALS for times in times_s):
                best = min(range(len(self._kernels)), key=lambda index: min(times_s[index]))
                self._fastest[size_class] = self._kernels[best]
        return steps

    def chosen(self) -> dict[str, str]:
        """The kernel kept for each size measured so far, by the largest number of values of its class."""
        return {f"<{1 << size}": type(kernel).__name__ for size, kernel in sorted(self._fastest.items())}
