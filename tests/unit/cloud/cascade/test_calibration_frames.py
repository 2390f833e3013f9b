"""Frames to calibrate on: photos as a device takes them, crops where there are too few, and said so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.tiny_classifier import tiny_classifier
from tercet.cascade.stage_input import adapt_input
from tercet.errors import InputError, SpecError
from tercet.models.card import ImageInput, ModelCard
from tercet.models.photos import preprocess, read_photo
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.cascade.calibration_frames import FrameOptions, calibration_frames
from tercet_cloud.cascade.stage_runs import StageModel, StageRuns
from tercet_cloud.measurement.split_runner import SplitRunner
from tercet_cloud.models.graph import OnnxGraph


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    tiny_classifier(made)
    return made


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(3)
    for number in range(6):
        pixels = random.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"photo-{number}_{number % 4}.png")
    return folder


def card_of(store: Store) -> tuple[ModelCard, OnnxGraph]:
    card = store.card("tiny-classifier")
    return card, OnnxGraph(store.model_bytes(card))


def test_photos_are_taken_as_a_device_takes_them(store: Store, photos: Path) -> None:
    card, graph = card_of(store)
    frames = calibration_frames(card, graph, FrameOptions(photos=photos))
    assert isinstance(card.input, ImageInput)
    assert len(frames) == 6
    assert not frames.warnings
    for path, frame in zip(sorted(photos.iterdir()), frames.pick(range(6)), strict=True):
        assert np.array_equal(frame["x"], preprocess(read_photo(path), card.input))


def test_crops_of_few_photos_are_the_same_each_time_and_come_with_a_warning(store: Store, photos: Path) -> None:
    frames = calibration_frames(*card_of(store), FrameOptions(photos=photos, frames=20))
    assert len(frames) == 20
    assert "crops of only 6 photos" in frames.warnings[0]
    all_of_them = [frame["x"] for frame in frames.pick(range(20))]
    some = [frame["x"] for frame in frames.pick([3, 11, 4])]
    for index, crop in zip((3, 11, 4), some, strict=True):
        assert np.array_equal(crop, all_of_them[index])
    # Small photos: a random square may be the whole one twice.
    assert len({crop.tobytes() for crop in all_of_them}) > 14


def test_labels_follow_their_photos(store: Store, photos: Path) -> None:
    frames = calibration_frames(*card_of(store), FrameOptions(photos=photos, labelled=True, frames=9))
    assert frames.labels is not None
    whole = calibration_frames(*card_of(store), FrameOptions(photos=photos, labelled=True))
    assert whole.labels is not None
    assert whole.labels.tolist() == [0, 1, 2, 3, 0, 1]
    # The first three photos, of labels 0, 1 and 2, have a second crop.
    assert sorted(frames.labels.tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 3]


def test_fewer_frames_than_photos_are_spread_over_them(store: Store, photos: Path) -> None:
    frames = calibration_frames(*card_of(store), FrameOptions(photos=photos, frames=3))
    assert len(frames) == 3
    assert not frames.warnings


def test_options_that_do_not_go_with_the_model_are_refused(store: Store, photos: Path) -> None:
    with pytest.raises(SpecError, match="takes photos"):
        calibration_frames(*card_of(store), FrameOptions(inputs=photos / "x.npz"))
    with pytest.raises(SpecError, match="sample photos have none"):
        calibration_frames(*card_of(store), FrameOptions(labelled=True))
    (photos / "photo-6_9.png").write_bytes((photos / "photo-0_0.png").read_bytes())
    with pytest.raises(InputError, match="labels below 4"):
        calibration_frames(*card_of(store), FrameOptions(photos=photos, labelled=True))


def test_a_stage_on_a_device_sees_the_photo_and_later_ones_what_crossed(store: Store, photos: Path) -> None:
    card, graph = card_of(store)
    stages = [StageModel(card, tier, SplitRunner(store, card, [])) for tier in (Tier.DEVICE, Tier.EDGE, Tier.CLOUD)]
    runs = StageRuns(store, stages)
    frames = calibration_frames(card, graph, FrameOptions(photos=photos))
    clear = runs.outputs(frames.pick(range(6)), "png")
    blurred = runs.outputs(frames.pick(range(6)), "jpeg:10")
    assert np.array_equal(clear[0], clear[2])
    assert np.array_equal(blurred[0], clear[0])
    assert np.array_equal(blurred[1], blurred[2])
    assert not np.allclose(blurred[1], clear[1], atol=1e-3)
    (frame,) = frames.pick([0])
    crossed, size_bytes = runs.crossed(frame, "jpeg:10")
    assert size_bytes < frame["x"].nbytes
    expected = stages[1].answers([adapt_input(crossed, card.input, card.input)])
    np.testing.assert_allclose(expected, blurred[1][:1], atol=1e-4)
