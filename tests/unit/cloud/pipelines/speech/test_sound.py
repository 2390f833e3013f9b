from __future__ import annotations

import wave
from io import BytesIO

import numpy as np
import pytest

from support.recordings import spoken, wav
from tercet.errors import InputError
from tercet_cloud.pipelines.speech.sound import read_sound


@pytest.mark.parametrize("sample_bytes", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_every_width_come_out_as_they_were(sample_bytes: int, channels: int) -> None:
    samples = spoken("7")
    sound = read_sound(wav(samples, sample_bytes=sample_bytes, channels=channels))
    assert sound.rate_hz == 8000
    assert sound.seconds == len(samples) / 8000
    assert np.abs(sound.samples - samples).max() <= 2.0 ** (1 - 8 * sample_bytes)


def test_channels_are_averaged() -> None:
    file = BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(2)
        output.setsampwidth(2)
        output.setframerate(16000)
        output.writeframes(np.array([[16384, 0], [-16384, 16384]], "<i2").tobytes())
    assert read_sound(file.getvalue()).samples.tolist() == [0.25, 0.0]


def test_a_file_that_is_cut_short_gives_what_is_there() -> None:
    data = wav(spoken("7"), channels=2)
    assert 0 < len(read_sound(data[:-333]).samples) < len(spoken("7"))


@pytest.mark.parametrize("data", [b"", b"RIFF", b"no sound", wav(spoken("1"))[:30]])
def test_what_is_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="no WAV file"):
        read_sound(data)


def test_samples_wider_than_32_bits_are_refused() -> None:
    data = bytearray(wav(spoken("1"), sample_bytes=4))
    data[32:36] = (8).to_bytes(2, "little") + (64).to_bytes(2, "little")
    with pytest.raises(InputError, match="64 bits a sample"):
        read_sound(bytes(data))


def test_other_rates_and_endless_sounds_are_refused() -> None:
    with pytest.raises(InputError, match="44,100 Hz: record it at 8,000 or 16,000 Hz"):
        read_sound(wav(spoken("1"), rate_hz=44100))
    with pytest.raises(InputError, match="over 600 s"):
        read_sound(wav(np.zeros(601 * 8000, np.float32), sample_bytes=1))
