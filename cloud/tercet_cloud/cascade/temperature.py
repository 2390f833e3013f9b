"""The temperature that makes a classifier's softmax tell how often it is right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from tercet.codecs.codec import Array
from tercet.errors import SpecError

_LEAST, _MOST = 0.05, 20.0


def fit_temperature(logits: Array, labels: npt.NDArray[np.int64]) -> float:
    """What to divide logits by for the least cross-entropy, between 0.05 and 20.

    Args:
        logits: (N, classes) float, on frames that the classifier was not trained on.
        labels: (N,) int64, the true ones or the large model's.
    Raises:
        SpecError: no frames, or as many labels as there are not frames.
    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    if not len(labels) or len(logits) != len(labels):
        raise SpecError(f"a temperature needs frames with a label each, not {len(logits)} and {len(labels)}")
    values = np.asarray(logits, np.float64)

    def loss(logarithm: float) -> float:
        scaled = values / np.exp(logarithm)
        scaled -= scaled.max(axis=1, keepdims=True)
        likelihood = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
        return -float(likelihood.mean())

    found = minimize_scalar(loss, bounds=(np.log(_LEAST), np.log(_MOST)), method="bounded")
    return float(np.exp(found.x))
