"""The temperature that makes a classifier's confidence honest.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

# Beyond these, softmax is a step or flat: nothing that a classifier needs.
LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """The temperature with the least mean negative log likelihood of `labels`; 1 without frames.

    Args:
        logits: (N, classes) of `exit_rule.logits_of`.
        labels: (N,) class indices.
    """
    if not len(logits):
        return 1.0
    found = minimize_scalar(
        lambda log_temperature: negative_log_likelihood(logits, labels, exp(log_temperature)),
        bounds=(log(LOWEST), log(HIGHEST)),
        method="bounded",
    )
    return float(exp(found.x))


def negative_log_likelihood(
    logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], temperature: float
) -> float:
    """Mean over frames, in nats."""
    scaled = logits / temperature
    peak = scaled.max(axis=1)
    total = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=1))
    return float((total - scaled[np.arange(len(labels)), labels]).mean())
