"""Frames run through a model that is cut, coded and decoded on their way: what a plan does to its outputs.

Real segments in ONNX Runtime, and the functions that put tensors on the wire; one frame at a time, as tiers do it.
What has been computed up to a cut is kept for the next way that begins alike, within a bound.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tercet.codecs import CodecContext
from tercet.codecs.codec import Array
from tercet.errors import FrameTooLargeError, TensorContractError
from tercet.inference.segment_chain import SegmentChain
from tercet.models.store import Store
from tercet.wire.tensors import decode_tensors, encode_tensors
from tercet_cloud.measurement.split_runner import Frame
from tercet_cloud.models.boundaries import Cut, boundary_of_nodes, end_of, start_of
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.slicing import slice_model

KEPT_BYTES = 512 << 20
_THREADS = 4

# None: a frame that a codec refused, so that it never arrives.
Frames = Sequence[Frame | None]


@dataclass(frozen=True)
class Coding:
    """One coding on the way: after the operations `before`, by the codec `spec`."""

    before: frozenset[int]
    spec: str


class CodedRuns:
    """Runs the frames of one model; close it, or use it as a context: segments lie in a temporary folder.

    Args:
        context: what the codecs need.
        kept_bytes: how much of what flows inside is kept.
    """

    def __init__(
        self, graph: OnnxGraph, name: str, frames: Frames, context: CodecContext, *, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._graph = graph
        self._name = name
        self._frames = frames
        self._context = context
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[object, tuple[Frames, int]] = OrderedDict()
        self._folder = tempfile.TemporaryDirectory(prefix="tercet-segments-")
        self._store = Store(Path(self._folder.name))

    def __enter__(self) -> CodedRuns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the segments; afterwards nothing can be run."""
        self._kept.clear()
        self._folder.cleanup()

    def way(self, codings: Sequence[Coding]) -> tuple[tuple[tuple[str, ...], str], ...]:
        """What tells ways apart whose outputs may differ: tensors and codecs, not where in the graph they are."""
        return tuple((self._cut(coding.before).tensors, coding.spec) for coding in codings)

    def outputs(
        self, codings: Sequence[Coding], output: str, progress: Callable[[int, int], None]
    ) -> list[Array | None]:
        """One output of the model for every frame, coded as said on the way; None for a frame that a codec refused.

        Args:
            codings: in the order of the data, each one's `before` a part of the next one's.
        Raises:
            SpecError: a place where the model cannot be cut, or a codec without calibration for a tensor.
        """
        coded = self._coded(tuple(codings))
        place = codings[-1].before if codings else frozenset[int]()
        return [
            None if found is None else found[output]
            for found in self._run(coded, self._cut(place), end_of(self._graph), progress)
        ]

    def _coded(self, codings: tuple[Coding, ...]) -> Frames:
        """All frames after the last of the codings."""
        if not codings:
            return self._frames
        key = self.way(codings)
        if (kept := self._recall(key)) is None:
            arrived = self._arrived(codings[:-1], codings[-1].before)
            kept = [frame and self._code(frame, codings[-1].spec) for frame in arrived]
            self._keep(key, kept)
        return kept

    def _arrived(self, codings: tuple[Coding, ...], place: frozenset[int]) -> Frames:
        """All frames before they are coded at `place`."""
        key = (self.way(codings), self._cut(place).tensors)
        if (kept := self._recall(key)) is None:
            start = codings[-1].before if codings else frozenset[int]()
            kept = self._run(self._coded(codings), self._cut(start), self._cut(place), lambda done, total: None)
            self._keep(key, kept)
        return kept

    def _code(self, frame: Frame, spec: str) -> Frame | None:
        try:
            headers, payloads = encode_tensors(frame, spec, self._context)
            return decode_tensors(headers, [memoryview(payload) for payload in payloads], self._context)
        except (TensorContractError, FrameTooLargeError):
            return None

    def _run(self, frames: Frames, start: Cut, stop: Cut, progress: Callable[[int, int], None]) -> Frames:
        if start.before == stop.before:
            return frames
        whole = (0, len(self._graph.operations))
        manifest, files = slice_model(
            self._graph, self._name, [cut for cut in (start, stop) if len(cut.before) not in whole]
        )
        index = 1 if start.before else 0
        self._store.add_segment(files[index])
        chain = SegmentChain(manifest, self._store, threads=min(_THREADS, os.cpu_count() or 1))
        results: list[Frame | None] = []
        for number, frame in enumerate(frames, start=1):
            results.append(None if frame is None else chain.run(frame, index, index + 1))
            progress(number, len(frames))
        return results

    def _cut(self, before: frozenset[int]) -> Cut:
        return boundary_of_nodes(self._graph, before) if before else start_of(self._graph)

    def _recall(self, key: object) -> Frames | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _keep(self, key: object, frames: Frames) -> None:
        size_bytes = sum(array.nbytes for frame in frames if frame for array in frame.values())
        self._kept[key] = (frames, size_bytes)
        while sum(kept for _, kept in self._kept.values()) > self._kept_bytes:
            self._kept.popitem(last=False)
