"""Measuring what every codec of a menu makes of every tensor that may cross: the coding table.

Codecs are fitted on the calibration frames. Bytes and times are measured on frames of the evaluation set, which
nothing was fitted on, through the same functions that put tensors on the wire; times on this machine, one frame at
a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import numpy as np

from tercet.codecs import CodecContext, KnownCalibrations
from tercet.codecs.codec import Array
from tercet.codecs.spec import split_spec
from tercet.errors import ContractError
from tercet.inference.quantise_kernel import static_kernel
from tercet.models.card import ImageInput, ModelCard
from tercet.models.manifest import DIGEST_CHARS
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.tensors import decode_tensors, encode_tensors
from tercet_cloud.measurement.codec_menu import METHOD
from tercet_cloud.measurement.sample_frames import SampleFrames
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.coding_menu import DEFAULT_MENU, needs_calibration, resolve_menu, tensors_to_fit
from tercet_cloud.planner.coding_table import CodingTable, MenuCodec, TensorCoding
from tercet_cloud.planner.inside_view import InsideView, crossing_tensors

CODED_FRAMES = 8
# After these many frames no further one is coded once the time is up.
_LEAST_FRAMES, _TIME_S = 2, 12.0
# A thorough entropy coder takes over a tenth of a second for larger tensors; no plan would wait for that.
_THOROUGH_LEVEL, _THOROUGH_MOST_BYTES = 10, 2 << 20

Progress = Callable[[int, int], None]


def measure_coding(
    store: Store,
    card: ModelCard,
    graph: OnnxGraph,
    samples: SampleFrames,
    menu: Sequence[str] = DEFAULT_MENU,
    progress: Progress = lambda done, total: None,
) -> CodingTable:
    """The coding table of one model.

    Left out, because they cannot cross: tensors that `crossing_tensors` leaves out, those over the frame limit, and
    those that come out other than declared. A codec has no entry for a tensor that it refuses in any frame, for
    which it was not fitted, or that is too large for a thorough entropy coder.

    Args:
        menu: as for `resolve_menu`. Image codecs are left out for models that take no photos.
        progress: called with frames done and all of them.
    Raises:
        SpecError: a codec that cannot be parsed, or a model that ONNX Runtime cannot load.
    """
    image = card.input if isinstance(card.input, ImageInput) else None
    total = len(samples.calibration.frames) + CODED_FRAMES
    frames = samples.evaluation.frames
    chosen = [frames[index] for index in sorted({i * len(frames) // CODED_FRAMES for i in range(CODED_FRAMES)})]
    view = InsideView(graph, crossing_tensors(graph))
    first = view.run(chosen[0])

    fitted: list[dict[str, Array]] = []
    if needs_calibration(menu):
        names = tensors_to_fit(graph, {name: array.shape for name, array in first.items()})
        narrow = InsideView(graph, names)
        for number, frame in enumerate(samples.calibration.frames, start=1):
            fitted.append(narrow.run(frame))
            progress(number, total)
        fitted = _all_there(fitted)
    codecs = tuple(codec for codec in resolve_menu(menu, fitted, store) if image or not codec.image)

    bench = _Bench(codecs, codec_context(store, card, codecs), image)
    began_s = time.perf_counter()
    for number, frame in enumerate(chosen, start=1):
        bench.code(first if number == 1 else view.run(frame))
        progress(len(samples.calibration.frames) + number, total)
        if number >= _LEAST_FRAMES and time.perf_counter() - began_s > _TIME_S:
            break
    outputs = {name: array for name, array in first.items() if name in graph.outputs}
    return CodingTable(
        model=card.name,
        model_sha256=graph.sha256,
        samples=f"{bench.frames} of {samples.evaluation.description}",
        frames=bench.frames,
        codecs=codecs,
        tensors=bench.table(),
        answer_bytes=_answer_bytes(card, outputs),
        header_bytes=len(Frame(_frame_header(card), []).seal()),
    )


def codec_context(store: Store, card: ModelCard, codecs: Sequence[MenuCodec]) -> CodecContext:
    """What a tier has for these codecs, each calibration read once. NotFoundError for one that is not there."""
    digests = {found[1] for codec in codecs if (found := METHOD.search(codec.spec))}
    calibrations = KnownCalibrations(store.calibration(digest) for digest in sorted(digests))
    image = card.input if isinstance(card.input, ImageInput) else None
    # As the tiers have it: static quantisation by the faster kernel.
    return CodecContext(calibrations, image=image, kernel=static_kernel())


def _all_there(frames: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Of the frames' tensors those that are finite and of one shape in all."""
    kept = [
        name
        for name, array in frames[0].items()
        if all(
            name in frame and frame[name].shape == array.shape and np.isfinite(frame[name]).all()
            for frame in frames
        )
    ]
    return [{name: frame[name] for name in kept} for frame in frames]


@dataclass
class _Trials:
    """One tensor under one codec, over the frames so far."""

    sizes_bytes: list[int] = field(default_factory=list)
    encode_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)

    def summary(self) -> TensorCoding:
        # The first of several frames pays for tables that are made when first needed.
        return TensorCoding(
            bytes=round(fmean(self.sizes_bytes), 1),
            encode_ms=round(median(self.encode_s[1:] or self.encode_s) * 1000, 4),
            decode_ms=round(median(self.decode_s[1:] or self.decode_s) * 1000, 4),
        )


class _Bench:
    """Codes frame after frame. What a codec refused once is not tried again."""

    def __init__(self, codecs: Sequence[MenuCodec], context: CodecContext, image: ImageInput | None) -> None:
        self.frames = 0
        self._codecs = codecs
        self._context = context
        self._image = image
        self._trials: dict[str, list[_Trials | None]] = {}

    def code(self, tensors: Mapping[str, Array]) -> None:
        self.frames += 1
        if self.frames > 1:
            # What is not there in every frame cannot cross.
            self._trials = {name: trials for name, trials in self._trials.items() if name in tensors}
        for name, array in tensors.items():
            if self.frames == 1:
                self._trials[name] = [
                    _Trials() if self._fits(codec, name, array) else None for codec in self._codecs
                ]
            elif name not in self._trials:
                continue
            self._code_tensor(name, array, self._trials[name])

    def table(self) -> dict[str, tuple[TensorCoding | None, ...]]:
        return {
            name: tuple(trial.summary() if trial else None for trial in trials)
            for name, trials in self._trials.items()
        }

    def _fits(self, codec: MenuCodec, name: str, array: Array) -> bool:
        if codec.image:
            return self._image is not None and name == self._image.tensor
        return not (array.nbytes > _THOROUGH_MOST_BYTES and _entropy_level(codec.spec) >= _THOROUGH_LEVEL)

    def _code_tensor(self, name: str, array: Array, trials: list[_Trials | None]) -> None:
        same_for_all: _Trials | None = None
        for index, (codec, trial) in enumerate(zip(self._codecs, trials, strict=True)):
            if trial is None:
                continue
            if array.dtype != np.float32 and same_for_all is not None:
                trials[index] = same_for_all  # raw, whatever the codec
                continue
            try:
                size_bytes, encode_s, decode_s = _round_trip(name, array, codec.spec, self._context)
            except ContractError:
                trials[index] = None
                continue
            trial.sizes_bytes.append(size_bytes)
            trial.encode_s.append(encode_s)
            trial.decode_s.append(decode_s)
            same_for_all = trial


def _round_trip(name: str, array: Array, spec: str, context: CodecContext) -> tuple[int, float, float]:
    """Bytes with the tensor's header, seconds to encode, seconds to decode."""
    begun_s = time.perf_counter()
    headers, payloads = encode_tensors({name: array}, spec, context)
    coded_s = time.perf_counter()
    decode_tensors(headers, [memoryview(payload) for payload in payloads], context)
    done_s = time.perf_counter()
    size_bytes = sum(len(payload) for payload in payloads) + pb.FrameHeader(tensors=headers).ByteSize()
    return size_bytes, coded_s - begun_s, done_s - coded_s


def _entropy_level(spec: str) -> int:
    arguments = [stage.arguments for stage in split_spec(spec) if stage.name == "zstd"]
    return max((int(argument) for found in arguments for argument in found if argument.isdecimal()), default=0)


def _frame_header(card: ModelCard) -> pb.FrameHeader:
    """As a device fills it, with names of usual length."""
    return pb.FrameHeader(
        model=f"{card.name}@{'0' * DIGEST_CHARS}",
        plan="plan-000",
        boundary=1,
        delivery=pb.DELIVERY_CLASS_REALTIME,
        node="device-000",
        sequence=1_000_000,
        deadline_ms=1_000,
    )


def _answer_bytes(card: ModelCard, outputs: Mapping[str, Array]) -> int:
    """The sealed answer of all outputs, with the visits of three tiers."""
    answer = Answer.of_outputs(_frame_header(card), outputs)
    times_us = 10_000
    for tier in Tier:
        answer.header.route.visits.append(
            pb.Visit(
                tier=tier.wire,
                node=f"{tier.value}-000",
                from_boundary=1,
                to_boundary=2,
                received_bytes=100_000,
                queue_us=times_us,
                decode_us=times_us,
                compute_us=times_us,
                encode_us=times_us,
                total_us=times_us,
                batch_size=1,
                beyond_us=times_us,
            )
        )
    return len(answer.seal())
