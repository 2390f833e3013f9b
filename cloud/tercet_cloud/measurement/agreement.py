"""How alike the outputs of a cut and the uncut model are, by the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from tercet.codecs.codec import Array
from tercet.models.card import ModelCard
from tercet_cloud.measurement.binomial import clopper_pearson

CONFIDENCE = 0.95
# Where a map of probabilities says "yes"; text detectors are usually read at 0.3.
MAP_THRESHOLD = 0.3
_NORMAL_QUANTILE = 1.96


@dataclass(frozen=True)
class Agreement:
    """The mean over all frames, and between which ends it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Metric:
    """`alike(reference, found)` is 0…1 for one frame; `counted` if it is only ever 0 or 1."""

    name: str
    alike: Callable[[Array, Array], float]
    counted: bool = False

    def over(self, references: Sequence[Array], found: Sequence[Array]) -> Agreement:
        """All frames together: an exact interval of a count, else the normal one of a mean."""
        values = [self.alike(*pair) for pair in zip(references, found, strict=True)]
        mean = float(np.mean(values))
        if self.counted:
            return Agreement(mean, *clopper_pearson(round(sum(values)), len(values), CONFIDENCE))
        reach = _NORMAL_QUANTILE * float(np.std(values, ddof=min(1, len(values) - 1))) / sqrt(len(values))
        return Agreement(mean, max(0.0, mean - reach), min(1.0, mean + reach))


def metric_for(card: ModelCard) -> Metric:
    """Best label for classifiers; for detectors with a map of probabilities the overlap of what is marked;
    the cosine between outputs for everything else."""
    if card.task == "classification":
        return Metric("same top-1 label", same_label, counted=True)
    if card.task == "detection":
        return Metric(f"overlap (IoU) of maps over {MAP_THRESHOLD}", map_overlap)
    return Metric("cosine of outputs, at least 0", cosine)


def same_label(reference: Array, found: Array) -> float:
    return float(np.argmax(reference) == np.argmax(found))


def map_overlap(reference: Array, found: Array) -> float:
    """Intersection over union; 1 if neither marks anything."""
    wanted, marked = (np.asarray(values, np.float64) > MAP_THRESHOLD for values in (reference, found))
    union = np.count_nonzero(wanted | marked)
    return np.count_nonzero(wanted & marked) / union if union else 1.0


def cosine(reference: Array, found: Array) -> float:
    """0 for outputs at a right angle or more, and if only one of them is all zeros."""
    wanted, given = (np.asarray(values, np.float64).reshape(-1) for values in (reference, found))
    lengths = float(np.linalg.norm(wanted) * np.linalg.norm(given))
    if not lengths:
        return float(not wanted.any() and not given.any())
    return min(1.0, max(0.0, float(wanted @ given) / lengths))
