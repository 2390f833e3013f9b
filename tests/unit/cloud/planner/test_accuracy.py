"""A candidate is as accurate as its frames really cut, coded and decoded; what loses nothing costs nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.coding_samples import MENU, graph_of, noise_samples
from support.tiny_classifier import tiny_classifier
from tercet.codecs import CodecContext
from tercet.errors import SpecError
from tercet.inference.whole_model import WholeModel
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet_cloud.measurement.drop_bound import counted_bound, mean_bound
from tercet_cloud.measurement.sample_frames import FrameSet, SampleFrames
from tercet_cloud.models.boundaries import boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.slicing import slice_model
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.measuring.accuracy import AccuracyMeter, lossy_codings
from tercet_cloud.planner.measuring.coding_measurement import measure_coding
from tercet_cloud.planner.measuring.coding_table import CodingTable
from tercet_cloud.planner.measuring.inside_view import InsideView

START = frozenset[int]()
COARSE = (*MENU, "int2", "top25%+int8")


class Setting:
    """A tiny classifier with its coding table, and meters of it that keep nothing on disk beyond the test."""

    def __init__(self, folder: Path, samples: SampleFrames, **card: str) -> None:
        self.store = Store(folder)
        self.card: ModelCard = tiny_classifier(self.store, **card)  # type: ignore[arg-type]
        self.graph: OnnxGraph = graph_of(self.store, self.card)
        self.samples = samples
        self.table: CodingTable = measure_coding(self.store, self.card, self.graph, samples, COARSE)
        self.end = frozenset(range(len(self.graph.operations)))
        self.steps: list[int] = []

    def meter(self, evaluation: FrameSet | None = None) -> AccuracyMeter:
        return AccuracyMeter(
            self.store,
            self.card,
            evaluation or self.samples.evaluation,
            self.table,
            graph=self.graph,
            progress=lambda done, total: self.steps.append(done),
        )

    def at(self, tensor: str) -> frozenset[int]:
        return boundary_of_tensors(self.graph, [tensor]).before

    def measure(self, device: frozenset[int], until_cloud: frozenset[int], *codecs: str) -> MeasuredAccuracy:
        with self.meter() as meter:
            return meter.measure(Candidate(device, until_cloud, (codecs[0], codecs[1])))


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path / "store", noise_samples(count=40))


def test_a_candidate_is_as_accurate_as_its_tensors_coded_by_hand(setting: Setting) -> None:
    view = InsideView(setting.graph, ["low", "scores"])
    context = CodecContext(setting.store)
    tail = WholeModel(slice_model(setting.graph, "m", [boundary_of_tensors(setting.graph, ["low"])])[1][1])
    alike = 0
    for frame in setting.samples.evaluation.frames:
        inside = view.run(frame)
        codec = context.codec("int2", "low")
        back = codec.decode(codec.encode(inside["low"]), inside["low"].dtype, inside["low"].shape)
        alike += int(np.argmax(tail.run({"low": back})["scores"]) == np.argmax(inside["scores"]))
    found = setting.measure(setting.at("low"), setting.end, "int2", "raw")
    assert 0 < alike < 40, "this codec should lose some frames and keep others"
    assert (found.metric, found.frames) == ("same top-1 label", 40)
    assert found.agreement == pytest.approx(alike / 40)
    assert found.drop == pytest.approx(1 - alike / 40)
    assert found.drop_bound == pytest.approx(counted_bound(40 - alike, 40))
    assert found.low < found.agreement < found.high
    assert found.labelled is None


@pytest.mark.parametrize("codecs", [("raw", "raw"), ("png", "raw"), ("png", "png")])
def test_lossless_codecs_cost_nothing_and_run_nothing(setting: Setting, codecs: tuple[str, str]) -> None:
    found = setting.measure(START, START, *codecs)
    assert (found.agreement, found.drop, found.drop_bound) == (1, 0, 0)
    assert not setting.steps


def test_all_on_one_tier_costs_nothing(setting: Setting) -> None:
    assert setting.measure(setting.end, setting.end, "raw", "raw").drop_bound == 0


def test_a_lossy_codec_that_changes_nothing_still_has_a_bound(setting: Setting) -> None:
    found = setting.measure(setting.at("mid"), setting.end, "fp16", "raw")
    assert found.agreement == 1
    assert found.drop_bound == pytest.approx(1 - 0.05 ** (1 / 40))


def test_an_edge_that_hands_on_codes_once_and_with_two_codecs_twice(setting: Setting) -> None:
    low = setting.at("low")
    once = lossy_codings(setting.graph, setting.table, Candidate(low, low, ("int2", "int2")))
    twice = lossy_codings(setting.graph, setting.table, Candidate(low, low, ("int2", "int4")))
    assert [coding.spec.partition(":")[0] for coding in once] == ["int2"]
    assert [coding.spec.partition(":")[0] for coding in twice] == ["int2", "int4"]
    direct = setting.measure(low, setting.end, "int2", "raw")
    assert setting.measure(low, low, "int2", "int2") == direct


def test_both_links_lose_together(setting: Setting) -> None:
    low, mid = setting.at("low"), setting.at("mid")
    with setting.meter() as meter:
        both = meter.measure(Candidate(low, mid, ("int2", "top25%+int8")))
        first = meter.measure(Candidate(low, setting.end, ("int2", "raw")))
        second = meter.measure(Candidate(low, mid, ("raw", "top25%+int8")))
    assert both.agreement <= min(first.agreement, second.agreement) + 0.1
    assert first.agreement != second.agreement


def test_what_loses_the_same_is_measured_once(setting: Setting) -> None:
    low, mid = setting.at("low"), setting.at("mid")
    with setting.meter() as meter:
        first = meter.measure(Candidate(low, mid, ("int2", "raw")))
        steps = len(setting.steps)
        assert meter.measure(Candidate(low, setting.end, ("int2", "raw"))) is first
        assert meter.measure(Candidate(low, low, ("int2", "int2"))) is first
    assert len(setting.steps) == steps == 40


def test_a_second_meter_recalls_what_the_first_measured(setting: Setting) -> None:
    first = setting.measure(setting.at("low"), setting.end, "int2", "raw")
    steps = len(setting.steps)
    assert setting.measure(setting.at("low"), setting.end, "int2", "raw") == first
    assert len(setting.steps) == steps
    other = replace(setting.samples.evaluation, frames=setting.samples.evaluation.frames[1:])
    with setting.meter(other) as meter:
        assert meter.measure(Candidate(setting.at("low"), setting.end, ("int2", "raw"))).frames == 39


def test_a_frame_that_a_codec_refuses_is_lost(setting: Setting) -> None:
    frames = list(setting.samples.evaluation.frames)
    frames[3] = {"x": frames[3]["x"] * np.float32(1e30)}
    with setting.meter(FrameSet("one too large", tuple(frames))) as meter:
        found = meter.measure(Candidate(setting.at("low"), setting.end, ("fp16", "raw")))
    assert found.agreement == pytest.approx(39 / 40)


def test_a_codec_without_calibration_for_what_crosses_is_an_error_not_a_loss(setting: Setting) -> None:
    with pytest.raises(SpecError, match="another boundary"):
        setting.measure(setting.at("row"), setting.end, "klt:8", "raw")


def test_with_labels_the_drop_is_that_of_right_answers(tmp_path: Path) -> None:
    setting = Setting(tmp_path, noise_samples(labelled=True, count=40))
    found = setting.measure(setting.at("low"), setting.end, "int2", "raw")
    assert found.labelled is not None
    after, before = found.labelled
    assert found.drop == pytest.approx(before - after)
    assert found.drop_bound >= max(0, found.drop)
    lossless = setting.measure(START, START, "raw", "raw")
    assert lossless.labelled == (before, before)


def test_labels_for_a_task_that_has_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="leave them out"):
        Setting(tmp_path, noise_samples(labelled=True), task="embedding").meter()


@pytest.mark.parametrize("task", ["embedding", "detection", "text", "other"])
def test_metrics_that_are_not_counted_are_bounded_as_means(tmp_path: Path, task: str) -> None:
    setting = Setting(tmp_path, noise_samples(), task=task)
    found = setting.measure(setting.at("low"), setting.end, "int8+zstd", "raw")
    assert 0 <= found.low <= found.agreement <= found.high <= 1
    assert mean_bound(np.zeros(24)) <= found.drop_bound <= 1
    assert found.drop_bound >= found.drop


def test_segments_are_gone_when_the_meter_is_closed(setting: Setting) -> None:
    meter = setting.meter()
    with meter:
        meter.measure(Candidate(setting.at("low"), setting.end, ("int2", "raw")))
        folder = Path(meter._runs._folder.name)
        assert list(folder.glob("segments/*.onnx"))
    assert not folder.exists()
    assert not list(setting.store.root.glob("segments/*"))
