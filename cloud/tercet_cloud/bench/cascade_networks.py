"""The tiny, mid and large network of `tercet bench cascade`: trained here, run as ONNX like any other model.

The large one learns from labels; the others from the large one's softened answers and the labels, half each, which
makes them agree with it more often (Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from tercet.cascade.exit_rule import ScoreKind, logits_of, scores_of
from tercet.codecs.codec import Float32Array
from tercet.inference.interleaved import Effort, quiet_medians, time_in_turns
from tercet.inference.whole_model import WholeModel
from tercet_cloud.bench.cascade_frames import JudgedFrames
from tercet_cloud.cascade.temperature import fit_temperature
from tercet_cloud.models.compute_cost import macs_by_operation
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.training.classifier import Averaging, Convolution, Dense, Layer, train_classifier
from tercet_cloud.training.classifier_onnx import INPUT, OUTPUT, classifier_onnx

SCORES: tuple[ScoreKind, ...] = ("max-softmax", "margin", "energy")
_TEACHER_HEAT = 2.0
# Of the training pictures; they only fit the temperatures.
_TEMPERATURE_SHARE = 0.1
_RUN_FRAMES = 500
_LARGE_SIDE = 16


@dataclass(frozen=True)
class Design:
    """Layers before the last, and batches to train for."""

    name: str
    layers: tuple[Layer, ...]
    steps: int


# From the first to answer to the last.
_SMALL_PICTURES = (
    Design("tiny", (Dense(16),), 800),
    Design("mid", (Convolution(8), Convolution(16, 2)), 800),
    Design("large", (Convolution(16), Convolution(32), Convolution(64, 2), Dense(64)), 1000),
)
_LARGE_PICTURES = (
    Design("tiny", (Averaging(2), Dense(32)), 3000),
    Design("mid", (Convolution(16, 2), Convolution(32, 2), Dense(64)), 3000),
    Design(
        "large",
        (Convolution(16), Convolution(32, 2), Convolution(32), Convolution(64, 2), Convolution(64), Dense(64)),
        3000,
    ),
)


@dataclass(frozen=True)
class StageModel:
    """One trained network; `macs` of one frame."""

    name: str
    onnx_bytes: bytes
    macs: int
    temperature: float
    train_s: float


def designs(side: int, steps: int | None = None) -> tuple[Design, ...]:
    """The networks for pictures whose shorter side is so many pixels; `steps` overrides how long all train."""
    chosen = _LARGE_PICTURES if side >= _LARGE_SIDE else _SMALL_PICTURES
    return chosen if steps is None else tuple(replace(design, steps=steps) for design in chosen)


def train_stages(
    images: Float32Array,
    labels: npt.NDArray[np.int64],
    chosen: Sequence[Design],
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[StageModel, ...]:
    """Train all designs, the last (the large one) first.

    Args:
        images: (n, 1, H, W) float32, -1 … 1; a tenth of them fits the temperatures and trains nothing.
        progress: told the name of each network before it is trained.
    Returns the models in the order of `chosen`.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    count = max(1, int(len(images) * _TEMPERATURE_SHARE))
    held, trained = order[:count], order[count:]
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels[trained]]
    models: list[StageModel] = []
    for design in reversed(chosen):
        progress(design.name)
        began_s = time.perf_counter()
        network = train_classifier(design.layers, images[trained], targets, steps=design.steps, seed=seed)
        onnx_bytes = classifier_onnx(network, images.shape[1:], design.name)
        took_s = time.perf_counter() - began_s
        model = WholeModel(onnx_bytes)
        temperature = fit_temperature(logits_of(run_model(model, images[held]), "logits"), labels[held])
        macs = sum(macs_by_operation(OnnxGraph(onnx_bytes)))
        if not models:
            targets = _softened(run_model(model, images[trained]), targets)
        models.append(StageModel(design.name, onnx_bytes, macs, temperature, took_s))
    return tuple(reversed(models))


def judge_frames(models: Sequence[StageModel], images: Float32Array, labels: npt.NDArray[np.int64]) -> JudgedFrames:
    """Every model's answer to every frame, and its scores; the last model has no scores."""
    logits = [run_model(WholeModel(model.onnx_bytes), images) for model in models]
    return JudgedFrames(
        labels,
        np.stack([values.argmax(axis=1) for values in logits]),
        {
            kind: np.stack(
                [
                    scores_of(values, kind, temperature=model.temperature)
                    for model, values in zip(models[:-1], logits[:-1], strict=True)
                ]
            )
            for kind in SCORES
        },
    )


def run_model(model: WholeModel, images: Float32Array) -> Float32Array:
    """(n, classes) float32 logits."""
    parts = [images[start : start + _RUN_FRAMES] for start in range(0, len(images), _RUN_FRAMES)]
    return np.concatenate([model.run({INPUT: part})[OUTPUT] for part in parts])


def time_stages(models: Sequence[StageModel], image: Float32Array, budget_s: float = 1.0) -> tuple[float, ...]:
    """Median ms of one frame through each model on one thread, in turns; `image` is (1, …)."""
    turns = [[partial(WholeModel(model.onnx_bytes).run, {INPUT: image})] for model in models]
    times_ms = time_in_turns(turns, Effort(budget_s=budget_s, max_rounds=3000))
    return tuple(float(value) for value in quiet_medians(times_ms))


def _softened(logits: Float32Array, hard: Float32Array) -> Float32Array:
    heated = logits / _TEACHER_HEAT
    weights = np.exp(heated - heated.max(axis=1, keepdims=True))
    soft = weights / weights.sum(axis=1, keepdims=True)
    mixed: Float32Array = ((soft + hard) / 2).astype(np.float32)
    return mixed
