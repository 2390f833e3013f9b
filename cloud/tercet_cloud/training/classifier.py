"""Classifiers of small pictures from a list of layers, trained from scratch in seconds to minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tercet.codecs.codec import Float32Array

_LEARNING_RATE = 2e-3
_BATCH = 64


@dataclass(frozen=True)
class Convolution:
    """3×3, padding 1, with bias, then ReLU."""

    channels: int
    stride: int = 1


@dataclass(frozen=True)
class Averaging:
    """The mean of each `size`×`size` cell; what is left over at the edges is dropped."""

    size: int


@dataclass(frozen=True)
class Dense:
    """All features to `units`, then ReLU."""

    units: int


Layer = Convolution | Averaging | Dense


@dataclass(frozen=True)
class TrainedClassifier:
    """`layers` and one more linear layer to the classes.

    `weights` has (kernel, bias) float32 for every layer that has any, and for the last: kernels (out, in, 3, 3) or
    (in, out), biases (out,).
    """

    layers: tuple[Layer, ...]
    weights: tuple[tuple[Float32Array, Float32Array], ...]


def train_classifier(
    layers: tuple[Layer, ...], images: Float32Array, targets: Float32Array, *, steps: int, seed: int = 0
) -> TrainedClassifier:
    """Adam with a falling rate on cross-entropy.

    Args:
        images: (n, channels, H, W) float32, about -1 … 1.
        targets: (n, classes) float32, probabilities: of labels 0 and 1, of a teacher anything between.
        steps: batches of 64 to train for.
    Returns the same weights for the same seed and the same PyTorch on the same processor.
    """
    import torch

    threads = torch.get_num_threads()
    # Layers this small are slower on several.
    torch.set_num_threads(1)
    try:
        return _train(torch, layers, images, targets, steps, seed)
    finally:
        torch.set_num_threads(threads)


def _train(
    torch: Any, layers: tuple[Layer, ...], images: Float32Array, targets: Float32Array, steps: int, seed: int
) -> TrainedClassifier:
    torch.manual_seed(seed)
    pictures, wanted = torch.from_numpy(images), torch.from_numpy(targets)
    network = _network(torch, layers, pictures[:1], targets.shape[1])
    optimiser = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(0, len(pictures), (_BATCH,), generator=generator)
        loss = torch.nn.functional.cross_entropy(network(pictures[chosen]), wanted[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return TrainedClassifier(
        layers,
        tuple(
            (_kernel(part.weight), _numbers(part.bias))
            for part in network
            if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear))
        ),
    )


def _network(torch: Any, layers: tuple[Layer, ...], example: Any, classes: int) -> Any:
    network = torch.nn.Sequential()
    for layer in layers:
        match layer:
            case Convolution(channels, stride):
                network.append(torch.nn.Conv2d(network(example).shape[1], channels, 3, stride, 1))
                network.append(torch.nn.ReLU())
            case Averaging(size):
                network.append(torch.nn.AvgPool2d(size))
            case Dense(units):
                network.append(torch.nn.Flatten())
                network.append(torch.nn.Linear(network(example).shape[1], units))
                network.append(torch.nn.ReLU())
    network.append(torch.nn.Flatten())
    network.append(torch.nn.Linear(network(example).shape[1], classes))
    return network


def _kernel(parameter: Any) -> Float32Array:
    values = _numbers(parameter)
    return np.ascontiguousarray(values.T) if values.ndim == 2 else values


def _numbers(parameter: Any) -> Float32Array:
    array: Float32Array = parameter.detach().numpy().copy()
    return array
