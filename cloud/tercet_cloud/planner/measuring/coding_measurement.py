"""Measuring what every codec of a menu makes of every tensor that may cross: the coding table.

Codecs are fitted on the calibration frames. Bytes and times are measured on frames of the evaluation set, which
nothing was fitted on, through the same functions that put tensors on the wire; times on this machine, one frame at
a time, as they are right after computing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tercet.codecs.codec import Array
from tercet.errors import ContractError
from tercet.inference.whole_model import WholeModel
from tercet.models.card import ImageInput, ModelCard
from tercet.models.manifest import DIGEST_CHARS
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet_cloud.measurement.sample_frames import SampleFrames
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.measuring.coding_bench import CodingBench, codec_context
from tercet_cloud.planner.measuring.coding_menu import DEFAULT_MENU, needs_calibration, resolve_menu, tensors_to_fit
from tercet_cloud.planner.measuring.coding_table import CodingTable
from tercet_cloud.planner.measuring.importance_probe import ImportanceProbe
from tercet_cloud.planner.measuring.inside_view import InsideView, crossing_tensors
from tercet_cloud.planner.measuring.measurement_cache import FOLDER, MeasurementCache, this_machine

CODED_FRAMES = 8
# After these many frames no further one is coded once the time is up.
_LEAST_FRAMES, _TIME_S = 2, 12.0

# Changes when what is measured does.
METHOD = 2

Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)


def coding_table(
    store: Store,
    card: ModelCard,
    graph: OnnxGraph,
    samples: SampleFrames,
    menu: Sequence[str] = DEFAULT_MENU,
    progress: Progress = lambda done, total: None,
    *,
    cache: MeasurementCache | None = None,
) -> CodingTable:
    """As `measure_coding`, but not measured again if `cache` has it, and `store` the calibrations it names."""
    cache = cache or MeasurementCache(store.root / FOLDER)
    key = {
        "model": graph.sha256,
        "menu": list(menu),
        "calibration": samples.calibration.digest,
        "evaluation": samples.evaluation.digest,
        "machine": this_machine(),
        "method": METHOD,
    }
    found = cache.recall(CodingTable, key)
    if found is None or found.model != card.name or not _has_calibrations(store, found):
        found = measure_coding(store, card, graph, samples, menu, progress)
        cache.keep(found, key)
    return found


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
        progress: called with steps done and all of them.
    Raises:
        SpecError: a codec that cannot be parsed, or a model that ONNX Runtime cannot load.
    """
    image = card.input if isinstance(card.input, ImageInput) else None
    done = _Count(progress, len(samples.calibration.frames) + CODED_FRAMES)
    frames = samples.evaluation.frames
    chosen = [frames[index] for index in sorted({i * len(frames) // CODED_FRAMES for i in range(CODED_FRAMES)})]
    view = InsideView(graph, crossing_tensors(graph))
    first = view.run(chosen[0])

    fitted: list[dict[str, Array]] = []
    if needs_calibration(menu):
        names = tensors_to_fit(graph, {name: array.shape for name, array in first.items()})
        narrow = InsideView(graph, names)
        for frame in samples.calibration.frames:
            fitted.append(narrow.run(frame))
            done.one_more()
        fitted = _all_there(fitted)
    with ImportanceProbe(store.model_bytes(card), card, graph, fitted, done.one_more) as probe:
        done.total += len(probe.probed)
        resolved = resolve_menu(menu, fitted, store, probe.importance)
    codecs = tuple(codec for codec in resolved if image or not codec.image)

    bench = CodingBench(codecs, codec_context(store, card, codecs), image)
    began_s = time.perf_counter()
    for number, frame in enumerate(chosen, start=1):
        bench.code(first if number == 1 else view.run(frame))
        done.one_more()
        if number >= _LEAST_FRAMES and time.perf_counter() - began_s > _TIME_S:
            break
    whole = WholeModel(store.model_bytes(card))
    bench.code_cold(first, lambda: whole.run(chosen[0]))
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


class _Count:
    """Steps done, of how many."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.total = total
        self._progress = progress
        self._done = 0

    def one_more(self) -> None:
        self._done += 1
        self._progress(self._done, self.total)


def _has_calibrations(store: Store, table: CodingTable) -> bool:
    try:
        codec_context(store, None, table.codecs)
    except ContractError as error:
        log.warning("a calibration of kept measurements is missing, measuring again", extra={"reason": str(error)})
        return False
    return True


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
