"""Sequences are what they say, and what delta saves on them is measured over a real stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.image_model import FEATURES, INPUT, OUTPUT, SIDE, normalised, put_image_model, random_pixels
from tercet.codecs import CodecContext, KnownCalibrations, calibrate
from tercet.errors import InputError
from tercet.inference.segment_chain import SegmentChain
from tercet.models.store import Store
from tercet_cloud.bench.delta_rate import measure_stream
from tercet_cloud.bench.sequences import panning_sequence, static_sequence

PHOTO = Image.fromarray(random_pixels(1, side=64)[0])


def pixels_of(frames: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(frame) for frame in frames])


def test_a_panning_camera_moves_by_its_step_and_turns_at_the_edge() -> None:
    frames = pixels_of(list(panning_sequence(PHOTO, 12, 10, size_px=24)))
    whole = np.asarray(PHOTO)
    for frame, left in zip(frames, [0, 10, 20, 30, 40, 30, 20, 10, 0, 10, 20, 30], strict=True):
        assert (frame == whole[20:44, left : left + 24]).all()


def test_a_static_camera_adds_only_its_noise() -> None:
    frames = pixels_of(list(static_sequence(PHOTO, 20, size_px=24, noise_levels=2))).astype(np.float64)
    assert 1.5 < frames.std(axis=0).mean() < 2.5
    assert np.abs(frames.mean(axis=0) - np.asarray(PHOTO)[20:44, 20:44]).mean() < 1
    still = pixels_of(list(static_sequence(PHOTO, 3, size_px=24, noise_levels=0)))
    assert (still == still[0]).all()


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again, other = (
        pixels_of(list(static_sequence(PHOTO, 3, size_px=24, seed=seed))).tobytes() for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(("size_px", "step_px"), [(65, 0), (64, 1), (60, 5)])
def test_a_photo_without_room_is_refused(size_px: int, step_px: int) -> None:
    with pytest.raises(InputError, match="has no room"):
        next(panning_sequence(PHOTO, 2, step_px, size_px=size_px))


def test_on_a_still_scene_delta_costs_a_fraction_at_equal_agreement(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chain = SegmentChain(put_image_model(store), store)
    frames = static_sequence(PHOTO, 20, size_px=SIDE, noise_levels=1)
    features = [chain.run({INPUT: normalised(np.asarray(frame)[None])}, 0, 1) for frame in frames]
    labels = [int(chain.run(tensors, 1, 2)[OUTPUT].argmax()) for tensors in features]
    known = KnownCalibrations()
    calibration = calibrate([tensors[FEATURES].view(np.float32) for tensors in features], tensor=FEATURES)
    codec = f"int4:static@{known.add(calibration)}+zstd:3"
    plain, delta, held = (
        measure_stream(chain, 1, features, labels, OUTPUT, f"{stage}{codec}", CodecContext(known))
        for stage in ("", "delta:30+", "delta:30:hold0.25+")
    )
    assert (plain.agreement, plain.frames, delta.key_frames) == (1, 20, 1)
    assert held.agreement == delta.agreement == 1
    assert held.bytes_per_frame < delta.bytes_per_frame < plain.bytes_per_frame
    assert held.bytes_per_frame < plain.bytes_per_frame / 3
