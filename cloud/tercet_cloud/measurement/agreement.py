"""How alike the outputs of a cut and the uncut model are, by the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from tercet.codecs.codec import Array
from tercet.models.card import ModelCard
from tercet_cloud.measurement.binomial import clopper_pearson
from tercet_cloud.measurement.edit_distance import text_likeness

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

    def values(self, references: Sequence[Array], found: Sequence[Array | None]) -> list[float]:
        """Frame by frame; 0 for a frame that gave nothing, or something of another shape."""
        return [
            0.0 if output is None else self.alike(reference, output)
            for reference, output in zip(references, found, strict=True)
        ]

    def over(self, references: Sequence[Array], found: Sequence[Array]) -> Agreement:
        """All frames together: an exact interval of a count, else the normal one of a mean."""
        values = self.values(references, found)
        mean = float(np.mean(values))
        if self.counted:
            return Agreement(mean, *clopper_pearson(round(sum(values)), len(values), CONFIDENCE))
        reach = _NORMAL_QUANTILE * float(np.std(values, ddof=min(1, len(values) - 1))) / sqrt(len(values))
        return Agreement(mean, max(0.0, mean - reach), min(1.0, mean + reach))


def metric_for(card: ModelCard, references: Sequence[Array] = ()) -> Metric:
    """Best label for classifiers; the cosine for embeddings; for models that read text how much of it stays; for
    detectors with a map of probabilities the overlap of what is marked; squared error for everything else.

    Args:
        references: the uncut model's outputs; squared errors are relative to their variance over all frames.
    """
    match card.task:
        case "classification":
            return Metric("same top-1 label", same_label, counted=True)
        case "embedding":
            return Metric("cosine of outputs, at least 0", cosine)
        case "text":
            return Metric("1 - edit distance / length of the text", text_likeness)
        case "detection":
            return Metric(f"overlap (IoU) of maps over {MAP_THRESHOLD}", map_overlap)
        case _:
            variance = _variance(references)
            return Metric(
                "1 - squared error / variance of the outputs, at least 0",
                lambda reference, found: closeness(reference, found, variance),
            )


def same_label(reference: Array, found: Array) -> float:
    return float(np.argmax(reference) == np.argmax(found))


def map_overlap(reference: Array, found: Array) -> float:
    """Intersection over union; 1 if neither marks anything."""
    if reference.shape != found.shape:
        return 0.0
    wanted, marked = (np.asarray(values, np.float64) > MAP_THRESHOLD for values in (reference, found))
    union = np.count_nonzero(wanted | marked)
    return np.count_nonzero(wanted & marked) / union if union else 1.0


def cosine(reference: Array, found: Array) -> float:
    """0 for outputs at a right angle or more, and if only one of them is all zeros."""
    if reference.shape != found.shape:
        return 0.0
    wanted, given = (np.asarray(values, np.float64).reshape(-1) for values in (reference, found))
    lengths = float(np.linalg.norm(wanted) * np.linalg.norm(given))
    if not lengths:
        return float(not wanted.any() and not given.any())
    return min(1.0, max(0.0, float(wanted @ given) / lengths))


def closeness(reference: Array, found: Array, variance: float) -> float:
    """1 less the mean squared error relative to `variance`, at least 0; without variance whether they are equal."""
    if reference.shape != found.shape:
        return 0.0
    wanted, given = (np.asarray(values, np.float64) for values in (reference, found))
    error = float(np.square(given - wanted).mean()) if wanted.size else 0.0
    if not variance or not error:
        return float(error == 0)
    return 1 - error / variance if error < variance else 0.0


def _variance(references: Sequence[Array]) -> float:
    """Of all numbers in all frames."""
    if not references:
        return 0.0
    return float(np.concatenate([np.asarray(values, np.float64).reshape(-1) for values in references]).var())
