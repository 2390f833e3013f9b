from __future__ import annotations

import numpy as np
import pytest

from tercet_cloud.pipelines.speech.log_mel import BANDS, band_centres_hz, log_mel


def tone(hz: float, rate_hz: int, level: float = 0.5, seconds: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("hz", [300, 1000, 3000])
def test_a_tone_is_loudest_in_its_own_band(hz: float, rate_hz: int) -> None:
    spectrogram = log_mel(tone(hz, rate_hz), rate_hz)
    nearest = int(np.abs(band_centres_hz(rate_hz) - hz).argmin())
    assert spectrogram.dtype == np.float32
    assert spectrogram.shape[1] == BANDS
    assert abs(int(spectrogram.mean(axis=0).argmax()) - nearest) <= 1


def test_ten_times_the_level_is_twenty_decibels_more() -> None:
    quiet, loud = (log_mel(tone(1000, 8000, level), 8000).max(axis=1) for level in (0.05, 0.5))
    assert np.allclose(loud - quiet, 20, atol=1e-3)


@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (1, 1), (200, 1), (201, 2), (280, 2), (281, 3)])
def test_there_is_a_frame_every_ten_milliseconds(samples: int, frames: int) -> None:
    assert log_mel(np.zeros(samples, np.float32), 8000).shape == (frames, BANDS)


def test_silence_is_finite_in_every_band() -> None:
    assert (log_mel(np.zeros(800, np.float32), 16000) == -100).all()
