"""Frames to measure with: photos, arrays or made-up numbers, in two sets that share none."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from support.image_model import random_pixels
from support.onnx_models import parse
from support.tiny_classifier import CLASSES, SIZE, tiny_classifier
from tercet.errors import InputError, MissingExtraError, SpecError
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet_cloud.measurement import sample_frames as module
from tercet_cloud.measurement.sample_frames import FrameSource, SampleFrames, sample_frames
from tercet_cloud.models.graph import OnnxGraph

TWO_INPUTS = """two (float[N, 4] x, int64[N, 2] ids) => (float[N, 4] y)
<float[7, 2] table = {1,2,3,4,5,6,7,8,9,10,11,12,13,14}> {
    rows = Gather(table, ids)
    flat = Reshape(rows, minus)
    y = Add(x, flat)
}""".replace("<float", "<int64[2] minus = {-1, 4}, float")


@pytest.fixture
def classifier(tmp_path: Path) -> ModelCard:
    return tiny_classifier(Store(tmp_path / "store"))


def graph_of(tmp_path: Path) -> OnnxGraph:
    return OnnxGraph((tmp_path / "store/models/tiny-classifier/model.onnx").read_bytes())


def tensor_card() -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "two",
            "task": "other",
            "licence": "Apache-2.0",
            "onnx": {"sha256": "0" * 64, "size_bytes": 1},
            "input": {"kind": "tensor"},
            "output": "y",
        }
    )


def write_photos(folder: Path, count: int, name: str = "{}.png") -> Path:
    folder.mkdir()
    for index, pixels in enumerate(random_pixels(1, count)):
        Image.fromarray(pixels).save(folder / name.format(index, label=index % CLASSES))
    return folder


def tensor_frames(path: Path, **arrays: np.ndarray) -> SampleFrames:
    np.savez(path, **arrays)
    return sample_frames(tensor_card(), OnnxGraph(parse(TWO_INPUTS)), FrameSource(inputs=path))


def inputs_of(found: SampleFrames) -> list[list[bytes]]:
    return [
        [b"".join(array.tobytes() for array in frame.values()) for frame in part.frames]
        for part in (found.calibration, found.evaluation)
    ]


def test_calibration_and_evaluation_share_no_photo(tmp_path: Path, classifier: ModelCard) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    found = sample_frames(classifier, graph_of(tmp_path), FrameSource(photos=photos))
    assert found.calibration.description.startswith("32 crops of 2 photos")
    assert found.evaluation.description.startswith("240 crops of 6 photos")
    calibrating, evaluating = inputs_of(found)
    assert (len(calibrating), len(evaluating)) == (32, 240)
    assert not set(calibrating) & set(evaluating)
    assert found.warnings == ()
    assert all(frame["x"].shape == (1, 3, SIZE, SIZE) for frame in found.evaluation.frames)


def test_the_same_options_give_the_same_frames(tmp_path: Path, classifier: ModelCard) -> None:
    source = FrameSource(photos=write_photos(tmp_path / "photos", 5), evaluation_frames=12)
    first, second = (sample_frames(classifier, graph_of(tmp_path), source) for _ in range(2))
    assert first.evaluation.digest == second.evaluation.digest
    assert first.evaluation.digest != first.calibration.digest


def test_labels_come_from_the_photos_names(tmp_path: Path, classifier: ModelCard) -> None:
    photos = write_photos(tmp_path / "photos", 4, "{}_{label}.png")
    source = FrameSource(photos=photos, labelled=True, evaluation_frames=7)
    found = sample_frames(classifier, graph_of(tmp_path), source)
    assert found.evaluation.labels is not None
    assert found.evaluation.labels.tolist() == [1, 1, 1, 2, 2, 3, 3]
    with pytest.raises(InputError, match=r"_LABEL\.jpg"):
        sample_frames(
            classifier, graph_of(tmp_path), FrameSource(photos=write_photos(tmp_path / "p", 2), labelled=True)
        )


def test_one_photo_alone_is_warned_of(tmp_path: Path, classifier: ModelCard) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    found = sample_frames(classifier, graph_of(tmp_path), FrameSource(photos=photos))
    assert "only one photo" in found.warnings[0]


def test_without_a_folder_there_are_sample_photos(tmp_path: Path, classifier: ModelCard) -> None:
    found = sample_frames(classifier, graph_of(tmp_path), FrameSource(evaluation_frames=12))
    assert "6 sample photos" in found.evaluation.description
    assert not set(module._CALIBRATION_PHOTOS) & set(module._EVALUATION_PHOTOS)


def test_without_the_packages_that_bring_photos_the_extra_is_named(
    tmp_path: Path, classifier: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_skimage(name: str, *rest: object) -> ModuleType:
        if name.startswith("skimage"):
            raise ModuleNotFoundError("No module named 'skimage'", name="skimage")
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_skimage)
    with pytest.raises(MissingExtraError, match=r"tercet\[demo\].*--photos"):
        sample_frames(classifier, graph_of(tmp_path), FrameSource())


def test_large_frames_are_fewer(tmp_path: Path, classifier: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SET_BYTES", 10 * 3 * SIZE * SIZE * 4)
    found = sample_frames(classifier, graph_of(tmp_path), FrameSource(photos=write_photos(tmp_path / "photos", 4)))
    assert len(found.evaluation.frames) == 10


def test_arrays_of_a_file_are_split_with_their_labels(tmp_path: Path) -> None:
    rows = np.arange(8, dtype=np.float32)
    found = tensor_frames(
        tmp_path / "frames.npz",
        x=np.repeat(rows, 4).reshape(8, 4),
        ids=np.zeros((8, 1, 2), np.int64),
        labels=rows.astype(np.int32),
    )
    assert [frame["x"][0, 0] for frame in found.calibration.frames] == [0, 4]
    assert [frame["x"][0, 0] for frame in found.evaluation.frames] == [1, 2, 3, 5, 6, 7]
    assert found.evaluation.labels is not None
    assert found.evaluation.labels.tolist() == [1, 2, 3, 5, 6, 7]
    assert found.evaluation.frames[0]["ids"].shape == (1, 2)


GOOD_X, GOOD_IDS = np.zeros((3, 4), np.float32), np.zeros((3, 2), np.int64)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"x": GOOD_X}, "the model's inputs are x, ids"),
        ({"x": GOOD_X, "ids": GOOD_IDS, "z": GOOD_X}, "has arrays ids, x, z"),
        ({"x": GOOD_X.astype(np.float64), "ids": GOOD_IDS}, "x is float64, the model takes float32"),
        ({"x": GOOD_X[:, :3], "ids": GOOD_IDS}, r"x is 3x3; frames of \?x4"),
        ({"x": GOOD_X[:2], "ids": GOOD_IDS}, "x 2, ids 3"),
        ({"x": GOOD_X[:0], "ids": GOOD_IDS[:0]}, "x is 0x4"),
        ({"x": GOOD_X, "ids": GOOD_IDS, "labels": np.zeros(3)}, "labels are float64"),
        ({"x": GOOD_X, "ids": GOOD_IDS, "labels": np.zeros(2, int)}, "labels 2"),
    ],
)
def test_arrays_that_are_not_the_models_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        tensor_frames(tmp_path / "frames.npz", **arrays)


def npy_bytes() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04N.", np.zeros(3).tobytes(), npy_bytes()])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "frames.npz"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"frames\.npz"):
        sample_frames(tensor_card(), OnnxGraph(parse(TWO_INPUTS)), FrameSource(inputs=path))


def test_made_up_numbers_come_with_a_warning_and_index_what_there_is() -> None:
    graph = OnnxGraph(parse(TWO_INPUTS))
    found = sample_frames(tensor_card(), graph, FrameSource(evaluation_frames=50))
    assert found.warnings[0].startswith("random inputs")
    assert "random inputs" in found.evaluation.description
    ids = np.concatenate([frame["ids"] for frame in found.evaluation.frames])
    assert (ids.min(), ids.max()) == (0, 6)
    calibrating, evaluating = inputs_of(found)
    assert not set(calibrating) & set(evaluating)


def test_options_of_the_other_kind_of_model_are_refused(tmp_path: Path, classifier: ModelCard) -> None:
    graph = OnnxGraph(parse(TWO_INPUTS))
    with pytest.raises(SpecError, match="no photos"):
        sample_frames(tensor_card(), graph, FrameSource(photos=tmp_path))
    with pytest.raises(SpecError, match="takes photos"):
        sample_frames(classifier, graph, FrameSource(inputs=tmp_path / "frames.npz"))
