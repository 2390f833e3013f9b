"""How much an error in each channel of a boundary does to the model's output: measured with small noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Array
from tercet_cloud.bench.split_runner import Frame

# Noise of this part of the tensor's standard deviation, in one channel of one frame at a time.
_NOISE_SHARE = 0.3
PROBES_PER_CHANNEL = 8

RunRest = Callable[[Sequence[Frame]], list[Array]]


def channel_importance(
    frames: Sequence[Frame], tensor: str, run_rest: RunRest, *, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Squared change of the output per squared error in a channel.

    Args:
        frames: calibration frames of the boundary; `tensor` is (1, C, …) float32 in each.
        run_rest: the model's output for frames of this boundary.
    Returns:
        (C,) float64, not negative; not comparable between tensors.
    """
    random = np.random.default_rng(seed)
    channels = frames[0][tensor].shape[1]
    sample = np.concatenate([frame[tensor] for frame in frames[:: max(1, len(frames) // 32)]])
    deviation = max(float(sample.std()) * _NOISE_SHARE, 1e-12)
    chosen = random.integers(0, len(frames), channels * PROBES_PER_CHANNEL)
    base = {index: run_rest([frames[index]])[0] for index in sorted(set(chosen.tolist()))}
    probes, energies = [], []
    for place, index in enumerate(chosen.tolist()):
        array = np.array(frames[index][tensor], np.float32)
        channel = array[:, place % channels]
        noise = random.normal(0, deviation, channel.shape).astype(np.float32)
        channel += noise
        probes.append({**frames[index], tensor: array})
        energies.append(float(np.square(noise, dtype=np.float64).mean()))
    changes = [_change(base[index], found) for index, found in zip(chosen.tolist(), run_rest(probes), strict=True)]
    ratios: npt.NDArray[np.float64] = np.array(changes) / np.array(energies)
    importance: npt.NDArray[np.float64] = ratios.reshape(PROBES_PER_CHANNEL, channels).mean(axis=0)
    return importance


def _change(base: Array, found: Array) -> float:
    before, after = (np.asarray(values, np.float64).reshape(-1) for values in (base, found))
    return float(np.square(after - before).mean())
