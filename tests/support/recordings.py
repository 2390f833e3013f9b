"""Recordings with and without speech: digits and letters spoken, as the package captcha has them (BSD-3-Clause)."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import captcha
import numpy as np
from scipy.signal import resample_poly

from tercet.codecs.codec import Float32Array
from tercet_cloud.pipelines.speech.sound import read_sound

_VOICES = Path(captcha.__file__).parent / "data"
RATE_HZ = 8000


def spoken(character: str) -> Float32Array:
    """One digit or letter, 8,000 samples a second."""
    return read_sound((_VOICES / character / "default.wav").read_bytes()).samples


def beeps(count: int = 8) -> Float32Array:
    return np.tile(read_sound((_VOICES / "beep.wav").read_bytes()).samples, count)


def quiet(seconds: float) -> Float32Array:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def sentence(words: Sequence[str], pause_s: float = 0.5) -> Float32Array:
    """Words, each of some characters spoken one after the other, with pauses before, between and after."""
    parts = [quiet(pause_s)]
    for word in words:
        parts += [*(spoken(character) for character in word), quiet(pause_s)]
    return np.concatenate(parts)


def hiss(seconds: float, level: float = 0.05) -> Float32Array:
    return np.random.default_rng(5).normal(0, level, round(seconds * RATE_HZ)).astype(np.float32)


def doubled(samples: Float32Array) -> Float32Array:
    """The same sound at 16,000 samples a second."""
    return np.asarray(resample_poly(samples, 2, 1), np.float32)


def wav(samples: Float32Array, rate_hz: int = RATE_HZ, sample_bytes: int = 2, channels: int = 1) -> bytes:
    """A WAV file of one channel's samples, the same in all channels."""
    steps = 2 ** (8 * sample_bytes - 1)
    values = np.clip(np.round(samples.astype(float) * steps), -steps, steps - 1).astype(np.int64)
    shifted = values + 128 if sample_bytes == 1 else values
    little = shifted.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :sample_bytes]
    file = BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(channels)
        output.setsampwidth(sample_bytes)
        output.setframerate(rate_hz)
        output.writeframes(np.repeat(little[:, np.newaxis], channels, axis=1).tobytes())
    return file.getvalue()
