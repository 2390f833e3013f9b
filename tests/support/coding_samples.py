"""Frames and menus for tests that measure codecs and accuracy on the tiny classifier."""

from __future__ import annotations

import numpy as np

from support.tiny_classifier import CLASSES, SIZE
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet_cloud.measurement.sample_frames import FrameSet, SampleFrames
from tercet_cloud.models.graph import OnnxGraph

MENU = (
    "raw",
    "fp16",
    "int8+zstd",
    "klt:8:static@transform-weighted",
    "int4:static@minmax",
    "png",
    "jpeg:85",
)


def noise_set(count: int, seed: int, *, labelled: bool = False) -> FrameSet:
    """Pictures of whole numbers, as photos are, normalised as the tiny classifier's card says."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 3, SIZE, SIZE))
    inputs = ((pixels - 127) / 128).astype(np.float32)
    labels = np.arange(count, dtype=np.int64) % CLASSES if labelled else None
    return FrameSet(f"{count} noises", tuple({"x": array} for array in inputs), labels)


def noise_samples(*, labelled: bool = False, count: int = 24) -> SampleFrames:
    return SampleFrames(noise_set(12, 1), noise_set(count, 2, labelled=labelled))


def graph_of(store: Store, card: ModelCard) -> OnnxGraph:
    return OnnxGraph(store.model_bytes(card))
