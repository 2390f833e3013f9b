"""Certified thresholds for stages whose scores are known, and where frames then end. Pure.

What `calibration` does to outputs, for scores that are already there: the same dealing of frames, the same tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tercet_cloud.cascade.calibration import Terms, deal_frames, require_frames
from tercet_cloud.cascade.certificate import Certificate, certify_split, tested_frames_needed

Scores = npt.NDArray[np.float64]
Verdicts = npt.NDArray[np.bool_]


def certify_stages(
    scores: Scores, wrong: Verdicts, *, alpha: float, delta: float, seed: int = 0
) -> tuple[Certificate, ...]:
    """One certificate for each stage but the last model, in their order.

    Args:
        scores, wrong: (stages, N), of every stage on all N calibration frames, reached or not; finite.
        alpha, delta: 0…1, exclusive.
        seed: of the dealing.
    Returns:
        certificates; where too few frames reach a later stage its threshold is infinite.
    Raises:
        SpecError: too few frames for the first stage; says how many there must be.
    """
    stages, frames = scores.shape
    require_frames(Terms(alpha, delta), stages, frames)
    share = delta / stages
    needed = tested_frames_needed(alpha, share)
    parts = deal_frames(frames, stages, seed)
    left = np.ones(frames, np.bool_)
    certificates: list[Certificate] = []
    for stage_scores, stage_wrong, part in zip(scores, wrong, parts.tests, strict=True):
        known, test = parts.pilot[left[parts.pilot]], part[left[part]]
        if len(test) < needed or not len(known):
            certificates.append(Certificate(float("inf"), alpha, share, len(test), 0, 0, 1.0))
            continue
        found = certify_split(stage_scores[known], stage_scores[test], stage_wrong[test], alpha=alpha, delta=share)
        certificates.append(found)
        left &= stage_scores < found.threshold
    return tuple(certificates)


def stages_reached(scores: Scores, thresholds: Sequence[float]) -> npt.NDArray[np.intp]:
    """(N,) the stage that answers each frame: the first whose score reaches its threshold, else the last model.

    Args:
        scores: (stages, N), of every stage but the last model; thresholds: of the same.
    """
    ends = np.full(scores.shape[1], len(scores), np.intp)
    for stage in reversed(range(len(scores))):
        ends[scores[stage] >= thresholds[stage]] = stage
    return ends
