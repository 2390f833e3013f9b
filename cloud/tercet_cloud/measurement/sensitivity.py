"""How much an error in a channel or a frequency of a boundary does to the output: measured with small noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Array, Float32Array
from tercet.codecs.cosine import from_frequencies
from tercet_cloud.measurement.split_runner import Frame

# Noise of this part of the tensor's standard deviation, in one channel of one frame at a time.
_NOISE_SHARE = 0.3
PROBES_PER_CHANNEL = 8
# Frequencies are looked at in so many bands, from smooth to rough.
BANDS = 12
PROBES_PER_BAND = 24
_PROBES_AT_ONCE = 48

RunRest = Callable[[Sequence[Frame]], list[Array]]


def channel_importance(
    frames: Sequence[Frame], tensor: str, run_rest: RunRest, *, seed: int = 0, probes: int = PROBES_PER_CHANNEL
) -> npt.NDArray[np.float64]:
    """Squared change of the output per squared error in a channel.

    Args:
        frames: calibration frames of the boundary; `tensor` is (1, C, …) float32 in each.
        run_rest: the model's output for frames of this boundary.
        probes: frames tried with noise in each channel.
    Returns:
        (C,) float64, not negative; not comparable between tensors.
    """
    random = np.random.default_rng(seed)
    shape = frames[0][tensor].shape
    deviation = _deviation(frames, tensor)

    def noise_in(place: int) -> Float32Array:
        noise = np.zeros(shape, np.float32)
        noise[:, place] = random.normal(0, deviation, noise[:, place].shape)
        return noise

    return _probe(frames, tensor, run_rest, noise_in, shape[1], probes, random)


def tone_importance(
    frames: Sequence[Frame], tensor: str, run_rest: RunRest, *, seed: int = 0, probes: int = PROBES_PER_BAND
) -> npt.NDArray[np.float64]:
    """The same for the frequencies of `tercet.codecs.cosine`: an array of the tensor's axes after the first two."""
    random = np.random.default_rng(seed)
    shape = frames[0][tensor].shape
    bands = frequency_bands(shape[2:])
    deviation = _deviation(frames, tensor)
    present = np.unique(bands)

    def noise_in(place: int) -> Float32Array:
        inside = bands == present[place]
        noise = random.normal(0, deviation * np.sqrt(bands.size / np.count_nonzero(inside)), shape) * inside
        return from_frequencies(noise.astype(np.float32))

    found = _probe(frames, tensor, run_rest, noise_in, len(present), probes, random)
    spread: npt.NDArray[np.float64] = found[np.searchsorted(present, bands)]
    return spread


def frequency_bands(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The band, 0 … BANDS - 1, of each frequency of axes of these sizes."""
    heights = np.zeros(shape)
    for axis, size in enumerate(shape):
        heights += (np.arange(size) / size).reshape(-1, *[1] * (len(shape) - axis - 1)) / len(shape)
    return (heights * BANDS).astype(np.int64)


def _deviation(frames: Sequence[Frame], tensor: str) -> float:
    sample = np.concatenate([frame[tensor] for frame in frames[:: max(1, len(frames) // 32)]])
    return max(float(sample.std()) * _NOISE_SHARE, 1e-12)


def _probe(
    frames: Sequence[Frame],
    tensor: str,
    run_rest: RunRest,
    noise_in: Callable[[int], Float32Array],
    places: int,
    probes_per_place: int,
    random: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """(places,): mean squared change of the output per mean squared noise, each over frames drawn at random."""
    chosen = random.integers(0, len(frames), places * probes_per_place).tolist()
    distinct = sorted(set(chosen))
    base = dict(zip(distinct, run_rest([frames[index] for index in distinct]), strict=True))
    sums = np.zeros(places)
    for first in range(0, len(chosen), _PROBES_AT_ONCE):
        part = range(first, min(first + _PROBES_AT_ONCE, len(chosen)))
        noises = [noise_in(place % places) for place in part]
        probes = [
            {**frames[chosen[place]], tensor: frames[chosen[place]][tensor] + noise}
            for place, noise in zip(part, noises, strict=True)
        ]
        for place, noise, found in zip(part, noises, run_rest(probes), strict=True):
            energy = float(np.square(noise, dtype=np.float64).mean())
            sums[place % places] += _change(base[chosen[place]], found) / energy
    means: npt.NDArray[np.float64] = sums / probes_per_place
    return means


def _change(base: Array, found: Array) -> float:
    before, after = (np.asarray(values, np.float64).reshape(-1) for values in (base, found))
    return float(np.square(after - before).mean())
