"""`tercet bench codec`: what every codec costs and keeps at every boundary, on real photos.

The photos' activations are computed once a boundary; each codec then encodes and decodes them frame by frame, timed
on one thread, and the rest of the network runs on what came back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np

from tercet.codecs import CodecContext
from tercet.codecs.codec import Array
from tercet.errors import ContractError, SpecError
from tercet.inference.quantise_kernel import static_kernel
from tercet.models.card import ImageInput, ModelCard
from tercet.models.store import Store
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame as WireFrame
from tercet_cloud.bench.publishing import machine
from tercet_cloud.measurement.agreement import CONFIDENCE, Metric, metric_for
from tercet_cloud.measurement.codec_menu import IMAGE_BASELINES, BoundaryCalibrator, MenuEntry, check_menu
from tercet_cloud.measurement.labelled_photos import PhotoSet
from tercet_cloud.measurement.sensitivity import channel_importance, tone_importance
from tercet_cloud.measurement.split_runner import Frame, SplitRunner
from tercet_cloud.models.boundaries import block_ends
from tercet_cloud.models.compute_cost import macs_by_operation, share_before
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.tensor_types import bytes_per_frame
from tercet_cloud.planner.searching.codec_choice import CodecPoint


@dataclass(frozen=True)
class RateRow(CodecPoint):
    """One codec at one boundary.

    `title` is the codec as asked for; `share_before` the part of the model's multiply-accumulates that lies before
    the boundary; `ratio` how many times fewer bytes than float32; `overhead_bytes` what seal and header add to a
    frame; `labelled_top1` the share of right labels, if labels were given. Speeds are of float32 input.
    """

    title: str
    calibration: str | None
    shape: str
    share_before: float
    ratio: float
    overhead_bytes: int
    agreement_high: float
    labelled_top1: float | None
    encode_gb_s: float
    decode_gb_s: float
    image: bool


@dataclass(frozen=True)
class Refusal:
    """A codec that can't code a boundary's tensors, and why."""

    boundary: str
    title: str
    reason: str


@dataclass(frozen=True)
class RateReport:
    """Everything the bench measured; see `RateRow`."""

    command: str
    model: str
    machine: str
    evaluation: str
    calibration: str
    metric: str
    interval: str
    uncut_top1: float | None
    rows: tuple[RateRow, ...]
    refusals: tuple[Refusal, ...]
    seconds: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class RateBench:
    """What to measure. `progress(done, all)` is called after every codec."""

    store: Store
    card: ModelCard
    evaluation: PhotoSet
    calibration: PhotoSet
    boundaries: tuple[tuple[str, ...], ...]
    menu: tuple[str, ...]
    baselines: tuple[str, ...] = IMAGE_BASELINES


def default_boundaries(graph: OnnxGraph) -> tuple[tuple[str, ...], ...]:
    """Where one tensor crosses that is no larger than any before it, the input included.

    A larger one costs more bytes for more computing. Of several in a row that hold the same bytes and of whose
    computing less than a hundredth lies between them, the last.
    """
    macs = macs_by_operation(graph)
    smallest = sum(bytes_per_frame(graph.types.spec(name)) for name in graph.inputs)
    chosen: list[tuple[int, float, str]] = []
    for name in block_ends(graph):
        size, share = bytes_per_frame(graph.types.spec(name)), share_before(graph, macs, [name])
        if size > smallest:
            continue
        if chosen and chosen[-1][0] == size and share - chosen[-1][1] < 0.01:
            chosen.pop()
        chosen.append((size, share, name))
        smallest = size
    return tuple((name,) for _, _, name in chosen)


def measure_rates(bench: RateBench, command: str, progress: Callable[[int, int], None]) -> RateReport:
    """Measure all boundaries and codecs.

    Image baselines only for models that take photos. Raises SpecError for a boundary that is no cut, a codec that
    can't be parsed, or a model of more than one input.
    """
    started_s = time.perf_counter()
    check_menu(bench.menu)
    graph = OnnxGraph(bench.store.model_bytes(bench.card))
    macs = macs_by_operation(graph)
    runner = SplitRunner(bench.store, bench.card, bench.boundaries)
    if len(graph.inputs) != 1:
        raise SpecError(
            f"model {bench.card.name} takes {len(graph.inputs)} tensors; the bench feeds one, a picture"
        )
    name = graph.inputs[0]
    frames: Sequence[Frame] = [{name: row[np.newaxis]} for row in bench.evaluation.inputs]
    samples: Sequence[Frame] = [{name: row[np.newaxis]} for row in bench.calibration.inputs]
    judge = _Judge(bench, runner, [out[bench.card.output] for out in runner.run(frames, 0, runner.last)])
    total = len(bench.baselines) + len(bench.menu) * len(bench.boundaries)
    rows: list[RateRow] = []
    refusals: list[Refusal] = []
    if isinstance(bench.card.input, ImageInput):
        image_context = CodecContext(image=bench.card.input)
        for baseline in bench.baselines:
            rows.append(judge.codec_row(0, 0.0, MenuEntry(baseline, baseline), image_context, frames))
            progress(len(rows), total)
    for index, names in enumerate(bench.boundaries, start=1):
        frames = runner.run(frames, index - 1, index)
        samples = runner.run(samples, index - 1, index)
        share = share_before(graph, macs, names)
        calibrator = judge.calibrator(index, samples)
        # As the tiers have it: static quantisation by the faster kernel.
        context = CodecContext(bench.store, kernel=static_kernel())
        for title in bench.menu:
            try:
                rows.append(judge.codec_row(index, share, calibrator.entry(title), context, frames))
            except ContractError as error:
                refusals.append(Refusal(",".join(names), title, str(error)))
            progress(len(rows) + len(refusals), total)
    return RateReport(
        command=command,
        model=f"{bench.card.name}, sha256 {bench.card.onnx.sha256[:12]}…",
        machine=machine(),
        evaluation=bench.evaluation.description,
        calibration=bench.calibration.description,
        metric=judge.metric.name,
        interval=f"{CONFIDENCE:.0%}; crops of one photo are taken as independent",
        uncut_top1=judge.labelled_top1(judge.references),
        rows=tuple(rows),
        refusals=tuple(refusals),
        seconds=round(time.perf_counter() - started_s, 1),
    )


class _Judge:
    """Turns a codec and the frames of a boundary into a row."""

    def __init__(self, bench: RateBench, runner: SplitRunner, references: Sequence[Array]) -> None:
        self.metric: Metric = metric_for(bench.card, references)
        self.references = references
        self._bench = bench
        self._runner = runner

    def calibrator(self, index: int, samples: Sequence[Frame]) -> BoundaryCalibrator:
        def run_rest(frames: Sequence[Frame]) -> list[Array]:
            output = self._bench.card.output
            return [outputs[output] for outputs in self._runner.run(frames, index, self._runner.last)]

        return BoundaryCalibrator(
            samples,
            lambda tensor: (
                channel_importance(samples, tensor, run_rest),
                tone_importance(samples, tensor, run_rest),
            ),
            self._bench.store,
        )

    def codec_row(
        self, index: int, share: float, entry: MenuEntry, context: CodecContext, frames: Sequence[Frame]
    ) -> RateRow:
        codecs = {
            name: context.codec(entry.spec if array.dtype == np.float32 else "raw", name)
            for name, array in frames[0].items()
        }
        trips = []
        for frame in frames:
            begun = time.perf_counter_ns()
            encoded = {name: codecs[name].encode(array) for name, array in frame.items()}
            coded = time.perf_counter_ns()
            back = {name: codecs[name].decode(encoded[name], a.dtype, a.shape) for name, a in frame.items()}
            done = time.perf_counter_ns()
            size = sum(part.size_bytes for part in encoded.values())
            trips.append(_Trip(back, size, coded - begun, done - coded))
        sealed = WireFrame.encode(_sample_header(self._runner.manifest.ref, index), frames[0], entry.spec, context)
        overhead = len(sealed.seal()) - trips[0].size_bytes
        return self._row(index, share, entry, frames[0], trips, overhead)

    def _row(
        self,
        index: int,
        share: float,
        entry: MenuEntry,
        frame: Frame,
        trips: Sequence[_Trip],
        overhead_bytes: int,
    ) -> RateRow:
        outputs = self._runner.run([trip.frame for trip in trips], index, self._runner.last)
        found = [output[self._bench.card.output] for output in outputs]
        agreement = self.metric.over(self.references, found)
        raw_bytes = sum(array.nbytes for array in frame.values())
        mean_bytes = float(np.mean([trip.size_bytes for trip in trips]))
        encode_ns, decode_ns = (median(times) for times in zip(*(trip.times_ns for trip in trips), strict=True))
        return RateRow(
            boundary=",".join(frame),
            codec=entry.spec,
            bytes_per_frame=round(mean_bytes, 1),
            agreement=agreement.mean,
            agreement_low=round(agreement.low, 5),
            encode_us=encode_ns / 1000,
            decode_us=decode_ns / 1000,
            title=entry.title,
            calibration=entry.calibration,
            shape=", ".join("×".join(str(size) for size in array.shape[1:]) for array in frame.values()),
            share_before=round(share, 4),
            ratio=round(raw_bytes / mean_bytes, 2),
            overhead_bytes=overhead_bytes,
            agreement_high=round(agreement.high, 5),
            labelled_top1=self.labelled_top1(found),
            encode_gb_s=round(raw_bytes / encode_ns, 3),
            decode_gb_s=round(raw_bytes / decode_ns, 3),
            image=index == 0,
        )

    def labelled_top1(self, outputs: Sequence[Array]) -> float | None:
        labels = self._bench.evaluation.labels
        if labels is None or self._bench.card.task != "classification":
            return None
        return float(np.mean([np.argmax(out) == label for out, label in zip(outputs, labels, strict=True)]))


@dataclass(frozen=True)
class _Trip:
    """One frame as it came back, what it weighed, and how long coding took."""

    frame: Frame
    size_bytes: int
    encode_ns: int
    decode_ns: int

    @property
    def times_ns(self) -> Iterator[int]:
        return iter((self.encode_ns, self.decode_ns))


def _sample_header(ref: str, boundary: int) -> pb.FrameHeader:
    return pb.FrameHeader(model=ref, plan="plan", node="device-0", sequence=1, boundary=boundary)
