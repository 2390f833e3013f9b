"""Reading a classifier's scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import Array


@dataclass(frozen=True)
class Classification:
    """The best label and its softmax probability."""

    index: int
    confidence: float


def classify(logits: Array) -> Classification:
    """Args: logits: (1, classes) or (classes,) float, unnormalised."""
    scores = np.asarray(logits, dtype=np.float64).reshape(-1)
    index = int(scores.argmax())
    return Classification(index, float(1 / np.exp(scores - scores[index]).sum()))
