"""How much accuracy a candidate plan costs: its frames really cut, coded, decoded and computed on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType

import numpy as np
import numpy.typing as npt
from pydantic import FiniteFloat

from tercet.codecs.codec import Array
from tercet.documents import Document
from tercet.errors import SpecError
from tercet.inference.whole_model import WholeModel
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet_cloud.measurement.agreement import metric_for
from tercet_cloud.measurement.binomial import clopper_pearson
from tercet_cloud.measurement.drop_bound import CONFIDENCE, counted_bound, mean_bound
from tercet_cloud.measurement.edit_distance import text_likeness
from tercet_cloud.measurement.sample_frames import FrameSet
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.measuring.coded_runs import CodedRuns, Coding
from tercet_cloud.planner.measuring.coding_bench import codec_context
from tercet_cloud.planner.measuring.coding_table import CodingTable
from tercet_cloud.planner.measuring.measurement_cache import FOLDER, MeasurementCache

Float64Array = npt.NDArray[np.float64]
_LABELLED_TASKS = ("classification", "text")

# What tells ways apart: for every coding, the tensors that cross there and the codec.
Way = tuple[tuple[tuple[str, ...], str], ...]
Progress = Callable[[int, int], None]


class AccuracyRecord(Document):
    """`MeasuredAccuracy` as it is kept on disk."""

    metric: str
    agreement: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    drop: FiniteFloat
    drop_bound: FiniteFloat
    frames: int
    labelled: tuple[FiniteFloat, FiniteFloat] | None = None

    def measured(self) -> MeasuredAccuracy:
        return MeasuredAccuracy(**self.model_dump())


def lossy_codings(graph: OnnxGraph, table: CodingTable, candidate: Candidate) -> tuple[Coding, ...]:
    """Where on its way a candidate loses anything.

    Cutting alone loses nothing, nor do lossless codecs. An edge that computes nothing hands frames on as they came
    if both links have one codec; with two, it decodes and codes anew.
    """
    everything = len(graph.operations)
    links = [
        Coding(before, table.codec(title).spec)
        for before, title in zip((candidate.device, candidate.until_cloud), candidate.codecs, strict=True)
        if len(before) < everything and not table.codec(title).lossless
    ]
    handed_on = candidate.device == candidate.until_cloud and candidate.codecs[0] == candidate.codecs[1]
    return tuple(links[:1] if handed_on else links)


class AccuracyMeter:
    """Measures candidates of one model; use it as a context.

    Ways that lose the same things in the same places are measured once. A frame that a codec refuses counts as
    wholly lost: in the field it would not arrive.

    Args:
        evaluation: frames that no codec was calibrated on.
        table: the menu that candidates name codecs of.
        cache: where measurements are kept between runs; by default in the store.
        progress: called with frames run and all, for each measurement.
    Raises:
        SpecError: labels for a task that has none.
    """

    def __init__(
        self,
        store: Store,
        card: ModelCard,
        evaluation: FrameSet,
        table: CodingTable,
        *,
        graph: OnnxGraph | None = None,
        cache: MeasurementCache | None = None,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self._card = card
        self._table = table
        self._evaluation = evaluation
        self._progress = progress
        self._graph = graph or OnnxGraph(store.model_bytes(card))
        self._judge = _Judge(card, evaluation)
        self._runs = CodedRuns(self._graph, card.name, evaluation.frames, codec_context(store, card, table.codecs))
        self._cache = cache or MeasurementCache(store.root / FOLDER)
        self._known: dict[Way, MeasuredAccuracy] = {}
        self._references: list[Array] | None = None

    def __enter__(self) -> AccuracyMeter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runs.close()

    def measure(self, candidate: Candidate) -> MeasuredAccuracy:
        """The candidate's accuracy; `drop_bound` is 0 where nothing is lost on the way.

        Raises SpecError where the model cannot be cut, or for a codec without calibration for what crosses.
        """
        codings = lossy_codings(self._graph, self._table, candidate)
        way = self._runs.way(codings)
        if way not in self._known:
            self._known[way] = self._recall_or_measure(codings, way)
        return self._known[way]

    @property
    def known(self) -> Mapping[Way, MeasuredAccuracy]:
        """What was asked for so far."""
        return self._known

    def _recall_or_measure(self, codings: Sequence[Coding], way: Way) -> MeasuredAccuracy:
        key = {
            "model": self._graph.sha256,
            "task": [self._card.task, self._card.output],
            "evaluation": self._evaluation.digest,
            "way": way,
        }
        kept = self._cache.recall(AccuracyRecord, key)
        if kept is not None:
            return kept.measured()
        found = self._measure(codings)
        self._cache.keep(AccuracyRecord.model_validate(asdict(found)), key)
        return found

    def _measure(self, codings: Sequence[Coding]) -> MeasuredAccuracy:
        references = self._reference_outputs()
        if not codings:
            return self._judge.lossless(references)
        found = self._runs.outputs(codings, self._card.output, self._progress)
        return self._judge.measured(references, found)

    def _reference_outputs(self) -> list[Array]:
        if self._references is None:
            whole = WholeModel(self._graph.model.SerializeToString(), threads=min(4, os.cpu_count() or 1))
            self._references = [whole.run(frame)[self._card.output] for frame in self._evaluation.frames]
        return self._references


class _Judge:
    """Turns outputs into a verdict, by the card's task and the labels, if there are any."""

    def __init__(self, card: ModelCard, evaluation: FrameSet) -> None:
        if evaluation.labels is not None and card.task not in _LABELLED_TASKS:
            raise SpecError(
                f"labels are for {' and '.join(_LABELLED_TASKS)}, but {card.name} does {card.task}: leave them out"
            )
        self._card = card
        self._labels = evaluation.labels

    def lossless(self, references: Sequence[Array]) -> MeasuredAccuracy:
        """Of a way on which nothing is lost."""
        name = metric_for(self._card, references).name
        right = None if self._labels is None else (float(self._right(references).mean()),) * 2
        return MeasuredAccuracy(name, 1.0, 1.0, 1.0, 0.0, 0.0, len(references), right)

    def measured(self, references: Sequence[Array], found: Sequence[Array | None]) -> MeasuredAccuracy:
        metric = metric_for(self._card, references)
        likeness = np.array(metric.values(references, found), np.float64)
        drop, losses = 1 - float(likeness.mean()), 1 - likeness
        labelled = None
        if self._labels is not None:
            before, after = self._right(references), self._right(found)
            labelled = (float(after.mean()), float(before.mean()))
            # The mean loss is at most that of the frames that lose: what others gain is left out of the bound.
            drop, losses = labelled[1] - labelled[0], np.maximum(before - after, 0)
        low, high = _interval(likeness, metric.counted)
        bound = _upper_bound(losses, metric.counted)
        return MeasuredAccuracy(
            metric.name, float(likeness.mean()), low, high, drop, bound, len(references), labelled
        )

    def _right(self, outputs: Sequence[Array | None]) -> Float64Array:
        """How right each output is by its label, 0…1; (frames,)."""
        labels = self._labels
        assert labels is not None
        text = self._card.task == "text"
        return np.array(
            [
                0.0 if found is None else text_likeness(label, found) if text else float(np.argmax(found) == label)
                for found, label in zip(outputs, labels, strict=True)
            ],
            np.float64,
        )


def _interval(likeness: Float64Array, counted: bool) -> tuple[float, float]:
    if counted:
        return clopper_pearson(round(float(likeness.sum())), len(likeness), CONFIDENCE)
    each_side = (1 + CONFIDENCE) / 2
    return 1 - mean_bound(1 - likeness, each_side), mean_bound(likeness, each_side)


def _upper_bound(losses: Float64Array, counted: bool) -> float:
    return counted_bound(round(float(losses.sum())), len(losses)) if counted else mean_bound(losses)
