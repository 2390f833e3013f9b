"""The steps of `pipelines/speech.yaml` and `voices.yaml`: a device's gate, and what becomes of a segment."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, TypedDict

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Float32Array
from tercet.models.store import Store
from tercet_cloud.pipelines.speech.detector import SpeechDetector, window_samples
from tercet_cloud.pipelines.speech.log_mel import band_centres_hz, log_mel
from tercet_cloud.pipelines.speech.segments import speech_segments
from tercet_cloud.pipelines.speech.sound import check_sound, read_sound

_FULL_SCALE = 32767
_QUIETEST = 1e-5


class Segment(TypedDict):
    """Somebody speaks: from when to when in the recording, and the samples, 16 bits each."""

    start_s: float
    end_s: float
    rate_hz: int
    samples: Annotated[npt.NDArray[np.int16], "tensor[int16, _]"]


class Gate(TypedDict):
    """What a device heard in one recording."""

    speech: bool
    seconds: float
    spoken_s: float
    segments: list[Segment]


class Voice(TypedDict):
    """What the cloud keeps of a segment.

    Attributes:
        level_db: loudness below full scale.
        centre_hz: where the middle of its power lies.
        spectrogram: (frames, 40) decibels.
    """

    start_s: float
    end_s: float
    level_db: float
    centre_hz: float
    spectrogram: Annotated[Float32Array, "tensor[float32, _, 40]"]


def gate(sound: bytes, store: str) -> Gate:
    """The segments of speech in a WAV file.

    Args:
        store: where the speech detector lies.
    Raises:
        InputError: no WAV file of 8,000 or 16,000 Hz.
        NotFoundError: the detector is not in the store.
    """
    heard = read_sound(sound)
    probabilities = _detector(store).probabilities(heard)
    window = window_samples(heard.rate_hz)
    spans = speech_segments(probabilities, window, heard.rate_hz, len(heard.samples))
    whole = np.round(np.clip(heard.samples, -1, 1) * _FULL_SCALE).astype(np.int16)
    segments: list[Segment] = [
        {
            "start_s": start / heard.rate_hz,
            "end_s": end / heard.rate_hz,
            "rate_hz": heard.rate_hz,
            "samples": whole[start:end],
        }
        for start, end in spans
    ]
    spoken_s = sum(end - start for start, end in spans) / heard.rate_hz
    return {"speech": bool(spans), "seconds": heard.seconds, "spoken_s": spoken_s, "segments": segments}


def describe(segment: Segment) -> Voice:
    """The spectrogram of a segment, and what it says of the voice. InputError for what `check_sound` refuses."""
    check_sound(segment["rate_hz"], len(segment["samples"]))
    samples = np.asarray(segment["samples"].astype(np.float32) / _FULL_SCALE, np.float32)
    spectrogram = log_mel(samples, segment["rate_hz"])
    power = (10 ** (spectrogram / 10)).mean(axis=0)
    level = float(np.sqrt(np.mean(samples.astype(float) ** 2))) if samples.size else 0.0
    return {
        "start_s": segment["start_s"],
        "end_s": segment["end_s"],
        "level_db": float(20 * np.log10(max(level, _QUIETEST))),
        "centre_hz": float((power * band_centres_hz(segment["rate_hz"])).sum() / power.sum()),
        "spectrogram": spectrogram,
    }


@lru_cache(maxsize=2)
def _detector(store: str) -> SpeechDetector:
    return SpeechDetector(Store(Path(store)))
