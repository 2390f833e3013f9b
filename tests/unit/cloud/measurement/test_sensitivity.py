"""Importance of channels and frequencies, on functions whose sensitivity is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tercet.codecs.codec import Array
from tercet.codecs.cosine import to_frequencies
from tercet_cloud.measurement.sensitivity import BANDS, channel_importance, frequency_bands, tone_importance
from tercet_cloud.measurement.split_runner import Frame

FRAMES = [{"t": np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)} for seed in range(9)]


def test_a_channel_counts_by_the_square_of_its_weight() -> None:
    weights = np.array([1, 2, 0], np.float32)

    def run_rest(frames: Sequence[Frame]) -> list[Array]:
        return [np.einsum("nchw,c->nchw", frame["t"], weights) for frame in frames]

    found = channel_importance(FRAMES, "t", run_rest)
    assert found / found[0] == pytest.approx([1, 4, 0], rel=1e-4)


def test_a_frequency_counts_by_the_square_of_its_weight() -> None:
    bands = frequency_bands((8, 8))
    weights = np.where(bands == 0, 3, 1)

    def run_rest(frames: Sequence[Frame]) -> list[Array]:
        return [to_frequencies(np.asarray(frame["t"], np.float32)) * weights for frame in frames]

    found = tone_importance(FRAMES, "t", run_rest)
    assert found.shape == (8, 8)
    assert found / found[-1, -1] == pytest.approx(np.square(weights), rel=1e-3)


def test_bands_rise_from_smooth_to_rough_and_a_row_of_features_has_one() -> None:
    bands = frequency_bands((14, 14))
    assert (bands[0, 0], bands.max() < BANDS) == (0, True)
    assert (np.diff(bands, axis=0) >= 0).all()
    assert frequency_bands(()).shape == ()
    features = [{"t": np.ones((1, 5), np.float32) * index} for index in range(1, 5)]
    found = tone_importance(features, "t", lambda frames: [frame["t"] for frame in frames])
    assert found.shape == ()
