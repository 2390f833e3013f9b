"""The log-mel spectrogram of sound: how loud each of 40 bands of hearing is, a hundred times a second.

Source: Davis & Mermelstein 1980, and the mel scale as O'Shaughnessy 1987 has it: 2595 log10(1 + f / 700).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tercet.codecs.codec import Float32Array

BANDS, WINDOW_S, HOP_S = 40, 0.025, 0.010
_LOWEST_HZ = 60.0
# Silence in 16 bits; nothing is quieter.
_FLOOR = 1e-10


def log_mel(samples: Float32Array, rate_hz: int) -> Float32Array:
    """(frames, 40) float32, decibels of power in each band; at least one frame, the last filled up with silence.

    Args:
        samples, rate_hz: a sound as `check_sound` lets it pass.
    """
    window, hop = round(WINDOW_S * rate_hz), round(HOP_S * rate_hz)
    frames = 1 + max(0, -(-(len(samples) - window) // hop))
    padded = np.zeros(window + (frames - 1) * hop, np.float32)
    padded[: len(samples)] = samples
    places = np.arange(frames)[:, np.newaxis] * hop + np.arange(window)
    spectrum = np.fft.rfft(padded[places] * np.hanning(window), axis=1)
    power = np.abs(spectrum) ** 2 / window
    return (10 * np.log10(np.maximum(power @ _filters(window, rate_hz).T, _FLOOR))).astype(np.float32)


def band_centres_hz(rate_hz: int) -> Float32Array:
    """The middle of each of the 40 bands."""
    return _edges_hz(rate_hz)[1:-1].astype(np.float32)


def _edges_hz(rate_hz: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (_LOWEST_HZ, rate_hz / 2))
    edges: np.ndarray[tuple[int], np.dtype[np.float64]] = 700 * (
        10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1
    )
    return edges


@lru_cache(maxsize=8)
def _filters(window: int, rate_hz: int) -> Float32Array:
    """(40, frequencies) triangles, each from the middle of one band's neighbour to that of the other.

    The lowest are narrower than a frequency of a short window; each takes at least the nearest one.
    """
    hz = np.fft.rfftfreq(window, 1 / rate_hz)
    edges = _edges_hz(rate_hz)
    low, middle, high = (part[:, np.newaxis] for part in (edges[:-2], edges[1:-1], edges[2:]))
    weights = np.clip(np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)), 0, None)
    for band in np.flatnonzero(weights.sum(axis=1) == 0):
        weights[band, np.abs(hz - edges[band + 1]).argmin()] = 1
    return weights.astype(np.float32)
