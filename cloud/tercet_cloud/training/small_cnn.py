"""A small convolutional classifier of small grey pictures, trained from scratch in seconds on a processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Float32Array

_LEARNING_RATE = 2e-3
_BATCH = 64
# (output channels, stride) of the 3×3 convolutions.
LAYERS = ((16, 1), (32, 2), (16, 2))


@dataclass(frozen=True)
class SmallCnn:
    """Weights: `kernels[i]` (out, in, 3, 3) and `biases[i]` (out,), padding 1, ReLU after each; then `last` and
    `last_bias`, (features, classes) and (classes,), on the flattened result. All float32."""

    kernels: tuple[Float32Array, ...]
    biases: tuple[Float32Array, ...]
    last: Float32Array
    last_bias: Float32Array


def train_small_cnn(
    images: Float32Array, labels: npt.NDArray[np.int64], classes: int, *, steps: int, seed: int = 0
) -> SmallCnn:
    """Adam with a falling rate on cross-entropy.

    Args:
        images: (n, 1, H, W) float32, about -1 … 1.
        labels: (n,) int64, below `classes`.
        steps: batches of 64 to train for.
    Returns the same weights for the same seed and the same PyTorch on the same processor.
    """
    import torch

    threads = torch.get_num_threads()
    # Layers this small are slower on several.
    torch.set_num_threads(1)
    try:
        return _train(torch, images, labels, classes, steps, seed)
    finally:
        torch.set_num_threads(threads)


def _train(
    torch: Any, images: Float32Array, labels: npt.NDArray[np.int64], classes: int, steps: int, seed: int
) -> SmallCnn:
    torch.manual_seed(seed)
    layers: list[Any] = []
    channels = images.shape[1]
    for outputs, stride in LAYERS:
        layers += [torch.nn.Conv2d(channels, outputs, 3, stride, 1), torch.nn.ReLU()]
        channels = outputs
    features = torch.nn.Sequential(*layers, torch.nn.Flatten())
    pictures, targets = torch.from_numpy(images), torch.from_numpy(labels)
    last = torch.nn.Linear(features(pictures[:1]).shape[1], classes)
    network = torch.nn.Sequential(features, last)
    optimiser = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(0, len(pictures), (_BATCH,), generator=generator)
        loss = torch.nn.functional.cross_entropy(network(pictures[chosen]), targets[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    convolutions = [layer for layer in features if isinstance(layer, torch.nn.Conv2d)]
    return SmallCnn(
        kernels=tuple(_numbers(layer.weight) for layer in convolutions),
        biases=tuple(_numbers(layer.bias) for layer in convolutions),
        last=np.ascontiguousarray(_numbers(last.weight).T),
        last_bias=_numbers(last.bias),
    )


def _numbers(parameter: Any) -> Float32Array:
    array: Float32Array = parameter.detach().numpy().copy()
    return array
