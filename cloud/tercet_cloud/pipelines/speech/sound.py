"""Sound from a WAV file, as one channel of samples between -1 and 1."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from tercet.codecs.codec import Float32Array
from tercet.errors import InputError

# What the speech detector was trained on.
RATES_HZ = (8000, 16000)
MAX_SECONDS = 600
_WIDEST_SAMPLE_BYTES = 4


@dataclass(frozen=True)
class Sound:
    """Samples (n,) float32, -1 to 1, so many a second."""

    samples: Float32Array
    rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz


def check_sound(rate_hz: float, samples: int) -> None:
    """InputError for another rate than 8,000 or 16,000 Hz, or more than ten minutes of samples."""
    if rate_hz not in RATES_HZ:
        raise InputError(f"a sound of {rate_hz:,} Hz: record it at 8,000 or 16,000 Hz")
    if samples > MAX_SECONDS * rate_hz:
        raise InputError(f"a sound of {samples / rate_hz:,.0f} s is over {MAX_SECONDS} s: send shorter ones")


def read_sound(data: bytes) -> Sound:
    """The sound of a WAV file with whole numbers of 8 to 32 bits as samples; its channels are averaged.

    Raises:
        InputError: another kind of file, or a sound that `check_sound` refuses.
    """
    try:
        with wave.open(BytesIO(data)) as file:
            rate_hz, count = file.getframerate(), file.getnframes()
            channels, sample_bytes = file.getnchannels(), file.getsampwidth()
            check_sound(rate_hz, count)
            if sample_bytes > _WIDEST_SAMPLE_BYTES:
                raise InputError(f"a sound of {8 * sample_bytes} bits a sample: record it with at most 32")
            raw = file.readframes(count)
    except (wave.Error, EOFError) as error:
        raise InputError(f"{len(data):,} bytes are no WAV file of whole numbers: {error or 'cut short'}") from error
    whole = len(raw) // (channels * sample_bytes) * channels
    values = _as_floats(raw[: whole * sample_bytes], sample_bytes)
    return Sound(values.reshape(-1, channels).mean(axis=1, dtype=np.float32), rate_hz)


def _as_floats(raw: bytes, sample_bytes: int) -> Float32Array:
    if sample_bytes == 1:
        return np.asarray((np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128, np.float32)
    # Little-endian; shifted to the top of 32 bits, so that one scale fits all widths.
    padded = np.zeros((len(raw) // sample_bytes, 4), np.uint8)
    padded[:, 4 - sample_bytes :] = np.frombuffer(raw, np.uint8).reshape(-1, sample_bytes)
    return (padded.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
