"""Reading a classifier's scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import Array
from tercet.errors import TensorContractError


@dataclass(frozen=True)
class Classification:
    """The best label and its softmax probability."""

    index: int
    confidence: float


def classify(logits: Array) -> Classification:
    """The best of some scores.

    Args:
        logits: (1, classes) or (classes,) float, unnormalised.
    Raises:
        TensorContractError: no classes, NaN or infinity: there is no best one.
    """
    scores = np.asarray(logits, dtype=np.float64).reshape(-1)
    if scores.size == 0 or not np.isfinite(scores).all():
        raise TensorContractError(f"these {scores.size} scores have no best one: none at all, or NaN or infinity")
    index = int(scores.argmax())
    return Classification(index, float(1 / np.exp(scores - scores[index]).sum()))
