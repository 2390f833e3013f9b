"""How sure a classifier is of its answer, after temperature scaling, as one number: larger is surer.

Scores of all three kinds come from logits or from probabilities: a model that ends in a softmax is read through its
logarithm, which gives the same softmax back.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat

from tercet.codecs.codec import Array
from tercet.documents import Document
from tercet.errors import TensorContractError

ScoreKind = Literal["max-softmax", "margin", "energy"]
OutputKind = Literal["logits", "probabilities"]

# Probabilities of one frame may miss 1 by this much, from rounding in half precision.
_SUM_TOLERANCE = 1e-2
_TINY = 1e-12


class ExitRule(Document):
    """When a stage answers for good: `score` of its outputs at least `threshold`.

    Attributes:
        score: "max-softmax" 0…1 (Hendrycks & Gimpel 2017, arXiv:1610.02136), "margin" between the two largest
            softmax values 0…1, or "energy", the negative free energy T·logsumexp(z / T), unbounded (Liu et al.
            2020, arXiv:2010.03759, eq. 4).
        outputs: what the model gives: logits, or probabilities that sum to 1.
        temperature: divides logits first (Guo et al. 2017, arXiv:1706.04599, section 4.2).
        threshold: in units of the score; infinite: never exit.
    """

    score: ScoreKind = "max-softmax"
    outputs: OutputKind = "logits"
    temperature: Annotated[FiniteFloat, Field(gt=0)] = 1.0
    threshold: float

    def exits(self, outputs: Array) -> npt.NDArray[np.bool_]:
        """(N,) bool: which frames may be answered by (N, classes) outputs."""
        return scores_of(outputs, self.score, self.outputs, self.temperature) >= self.threshold


def scores_of(
    outputs: Array, score: ScoreKind, kind: OutputKind = "logits", temperature: float = 1.0
) -> npt.NDArray[np.float64]:
    """(N,) float64 scores of (N, classes) outputs.

    Raises:
        TensorContractError: not (N, classes ≥ 2), NaN or infinity in it, or said to be probabilities and they are
            negative or do not sum to 1.
    """
    logits = logits_of(outputs, kind) / temperature
    peak = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - peak)
    total = weights.sum(axis=1, keepdims=True)
    if score == "energy":
        energy: npt.NDArray[np.float64] = temperature * (peak + np.log(total))[:, 0]
        return energy
    top = np.partition(weights / total, -2, axis=1)[:, -2:]
    found: npt.NDArray[np.float64] = top[:, 1] if score == "max-softmax" else top[:, 1] - top[:, 0]
    return found


def logits_of(outputs: Array, kind: OutputKind) -> npt.NDArray[np.float64]:
    """(N, classes) float64 whose softmax are the class probabilities; errors as for `scores_of`."""
    values = np.asarray(outputs, np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise TensorContractError(
            f"exit scores need outputs of shape (N, classes), at least two; got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise TensorContractError("exit scores need finite outputs; these have NaN or infinity")
    if kind == "logits":
        return values
    sums = values.sum(axis=1)
    if values.min(initial=0) < 0 or (len(sums) and np.abs(sums - 1).max() > _SUM_TOLERANCE):
        raise TensorContractError(
            "these outputs are no probabilities (negative, or a frame does not sum to 1): if they are logits, say "
            "`outputs: logits` in the exit rule"
        )
    return np.log(np.maximum(values, _TINY))
