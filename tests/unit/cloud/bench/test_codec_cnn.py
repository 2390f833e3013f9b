"""`tercet bench codec-cnn`: it learns, the ONNX file computes what was trained, and data is checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tercet.cli.main import run
from tercet.errors import InputError
from tercet.inference.whole_model import WholeModel
from tercet_cloud.bench.codec_cnn import CODECS, best_rows, cnn_onnx, digits, measure_cnn, read_pictures
from tercet_cloud.training.small_cnn import train_small_cnn


def test_a_briefly_trained_network_reads_digits_and_every_codec_has_its_best_boundary() -> None:
    report = measure_cnn(digits(), 150, "a command")
    assert report.uncut_top1 is not None
    assert report.uncut_top1 > 0.8
    best = best_rows(report)
    assert [row.title for row in best] == list(CODECS)
    for row in best:
        assert all(row.labelled_top1 >= other.labelled_top1 for other in report.rows if other.title == row.title)


def test_training_is_the_same_for_the_same_seed_and_the_file_computes_it() -> None:
    pictures = digits()
    first, second = (train_small_cnn(pictures.train_images, pictures.train_labels, 10, steps=3) for _ in "ab")
    assert cnn_onnx(first, (1, 8, 8)) == cnn_onnx(second, (1, 8, 8))
    scores = WholeModel(cnn_onnx(first, (1, 8, 8))).run({"x": pictures.test_images[:5]})["scores"]
    features = pictures.test_images[:5]
    for kernel, bias, stride in zip(first.kernels, first.biases, (1, 2, 2), strict=True):
        padded = np.pad(features, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::stride, ::stride]
        features = np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel) + bias[:, None, None], 0)
    assert np.allclose(features.reshape(5, -1) @ first.last + first.last_bias, scores, atol=1e-4)


def test_pictures_come_from_a_file_and_one_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    arrays = {
        f"{part}_{kind}": values
        for part in ("train", "test")
        for kind, values in (("images", random.integers(0, 256, (9, 6, 6), np.uint8)), ("labels", np.arange(9) % 3))
    }
    np.savez(tmp_path / "small.npz", **arrays)
    pictures = read_pictures(tmp_path / "small.npz")
    assert pictures.train_images.shape == (9, 1, 6, 6)
    assert (pictures.test_images.min() >= -1, pictures.test_images.max() <= 1) == (True, True)
    np.savez(tmp_path / "wrong.npz", **{**arrays, "test_labels": np.arange(4)})
    with pytest.raises(InputError, match="with n labels"):
        read_pictures(tmp_path / "wrong.npz")
    (tmp_path / "none.npz").write_bytes(b"nothing")
    assert run(["bench", "codec-cnn", "--data", str(tmp_path / "none.npz")]) != 0
    assert "not an .npz" in capsys.readouterr().err
    assert json.dumps(pictures.name) == '"small"'
