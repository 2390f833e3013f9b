"""`tercet bench cascade` end to end on a few briefly trained frames; its networks and refusals."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from rich.console import Console

from tercet.cli.main import run
from tercet.inference.whole_model import WholeModel
from tercet_cloud.bench.cascade_command import CascadeOptions, measure_cascade
from tercet_cloud.bench.cascade_report import CascadeReport
from tercet_cloud.bench.cascade_tables import print_report
from tercet_cloud.bench.codec_cnn import digits
from tercet_cloud.training.classifier import Averaging, Convolution, Dense, train_classifier
from tercet_cloud.training.classifier_onnx import classifier_onnx

OPTIONS = CascadeOptions(
    None,
    alpha=0.1,
    delta=0.1,
    calibration=None,
    trials=4,
    streams=2,
    frames=150,
    share=0.1,
    score="energy",
    as_json=True,
    steps=25,
)


@pytest.fixture(scope="module")
def report() -> CascadeReport:
    return measure_cascade(OPTIONS, lambda text: None)


def test_three_networks_learn_and_the_large_one_costs_the_most(report: CascadeReport) -> None:
    assert [row.name for row in report.networks] == ["tiny", "mid", "large"]
    macs = [row.macs for row in report.networks]
    assert macs == sorted(macs)
    assert report.networks[-1].right > 0.5
    assert report.networks[-1].agreement == 1
    assert (report.trained_on, report.pool) == (898, 899)


def test_all_scores_targets_and_populations_have_their_rows(report: CascadeReport) -> None:
    assert {(row.target, row.score, row.stages) for row in report.savings if row.alpha == 0.1} == {
        (target, score, stages)
        for target in ("agreement", "labels")
        for score in ("max-softmax", "margin", "energy")
        for stages in (1, 2)
    }
    assert all(len(row.opened) == row.stages for row in report.savings)
    assert len(report.breaches) == 2 * 3 * 2 * 2 + 2
    assert all(row.certified.trials == row.uncertified.trials == 4 for row in report.breaches)
    assert len(report.drifts) == 6
    assert report.clean.frames == 6 * 2 * 150
    # 674 frames cannot prove one wrong in a hundred for two exits.
    assert any("0.01" in refusal for refusal in report.refusals)


def test_the_report_is_json_and_tables(report: CascadeReport) -> None:
    assert json.loads(json.dumps(asdict(report)))["alpha"] == 0.1
    console = Console(width=250, file=io.StringIO())
    with console.capture() as captured:
        print_report(report, console)
    text = captured.get()
    for heading in ("never large", "certified (95 %)", "frames until restored", "inversion", report.command):
        assert heading in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--alpha", "0.001"], "cannot certify 2 exits .* at least"),
        (["--alpha", "0"], "between 0 and 1"),
        (["--calibration", "5000"], "leaves nothing to judge"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_training(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "cascade", *options]) != 0
    assert re.search(told, capsys.readouterr().err)


def test_the_file_computes_what_was_trained_and_again_the_same() -> None:
    pictures = digits().train_images[:50]
    targets = np.eye(10, dtype=np.float32)[digits().train_labels[:50]]
    layers = (Convolution(3, 2), Averaging(2), Dense(7), Dense(5))
    first, second = (train_classifier(layers, pictures, targets, steps=3) for _ in "ab")
    data = classifier_onnx(first, (1, 8, 8), "small")
    assert data == classifier_onnx(second, (1, 8, 8), "small")
    (kernel, bias), *dense = first.weights
    padded = np.pad(pictures, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
    features = np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel) + bias[:, None, None], 0)
    flat = features.reshape(50, 3, 2, 2, 2, 2).mean((3, 5)).reshape(50, -1)
    for weights, offset in dense[:-1]:
        flat = np.maximum(flat @ weights + offset, 0)
    scores = WholeModel(data).run({"x": pictures})["scores"]
    assert np.allclose(flat @ dense[-1][0] + dense[-1][1], scores, atol=1e-4)
