"""How much errors at a place count at the output, for fitting `transform-weighted`: where it is affordable.

A few probes do: with 2 a channel and 8 a band of frequencies, `klt` codes EfficientNet-Lite0's narrow places in a
fifth fewer bytes than unweighted, at the same agreement; four times as many probes gain nothing on top.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Array
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet_cloud.measurement.sensitivity import BANDS, channel_importance, tone_importance
from tercet_cloud.measurement.split_runner import Frame, SplitRunner
from tercet_cloud.models.boundaries import boundary_of_tensors
from tercet_cloud.models.compute_cost import macs_by_operation
from tercet_cloud.models.graph import OnnxGraph

PROBES_PER_CHANNEL, PROBES_PER_BAND = 2, 8
# Multiply-accumulates of all probes together: some five seconds on two idle cores.
AFFORDABLE_MACS = 3e11

Float64Array = npt.NDArray[np.float64]


class ImportanceProbe:
    """Importance of the channels and frequencies of some tensors; a context, because segments lie in a folder.

    Args:
        samples: the tensors, each crossing alone, by name, of each calibration frame.
        progress: called after every tensor that was probed.
    """

    def __init__(
        self,
        onnx_bytes: bytes,
        card: ModelCard,
        graph: OnnxGraph,
        samples: Sequence[Frame],
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._onnx_bytes = onnx_bytes
        self._card = card
        self._samples = samples
        self._progress = progress
        self.probed = _affordable(graph, samples[0]) if samples else ()
        self._folder = tempfile.TemporaryDirectory(prefix="tercet-segments-")
        self._store = Store(Path(self._folder.name))

    def __enter__(self) -> ImportanceProbe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def importance(self, tensor: str) -> tuple[Float64Array, Float64Array]:
        """Of channels (C,) and frequencies (…), for a tensor (1, C, …); all alike for tensors not in `probed`."""
        shape = self._samples[0][tensor].shape
        if tensor not in self.probed:
            return np.ones(shape[1]), np.ones(shape[2:])
        self._store.add_model(self._card, self._onnx_bytes)
        runner = SplitRunner(self._store, self._card, [[tensor]])
        frames = [{tensor: frame[tensor]} for frame in self._samples]

        def run_rest(probes: Sequence[Frame]) -> list[Array]:
            return [outputs[self._card.output] for outputs in runner.run(probes, 1, runner.last)]

        channels = channel_importance(frames, tensor, run_rest, probes=PROBES_PER_CHANNEL)
        tones = tone_importance(frames, tensor, run_rest, probes=PROBES_PER_BAND)
        self._progress()
        return channels, tones


def _affordable(graph: OnnxGraph, sample: Frame) -> tuple[str, ...]:
    """The smallest tensors, as many as can be probed within `AFFORDABLE_MACS`.

    None where axes of the model's inputs are free: its work is then not known beforehand.
    """
    if any(None in graph.types.spec(name).shape[1:] for name in graph.inputs):
        return ()
    macs = macs_by_operation(graph)
    chosen: list[str] = []
    spent = 0.0
    for name in sorted(sample, key=lambda name: sample[name].size):
        before = boundary_of_tensors(graph, [name]).before
        rest = sum(macs) - sum(macs[index] for index in before)
        spent += rest * (sample[name].shape[1] * PROBES_PER_CHANNEL + BANDS * PROBES_PER_BAND)
        if spent > AFFORDABLE_MACS:
            break
        chosen.append(name)
    return tuple(chosen)
