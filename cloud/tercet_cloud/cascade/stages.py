"""Certified thresholds for all stages of a cascade, and where its frames then end.

A stage meets only frames that no stage before it answered, so that is what its threshold is certified on: first the
first stage on all calibration frames, then the second on those that are left, each with an equal part of δ. All
promises then hold together with probability at least 1 - δ, and with them P(wrong | not answered by the last
model) ≤ α.

The next stage's frames depend on how the test before ended: the band of scores where it failed has more wrong
answers of that stage than chance would give. Such frames are harder for the next stage too, or at least no easier;
under that assumption its test errs on the safe side. `tercet bench cascade` counts how often the whole promise is
broken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tercet.errors import SpecError
from tercet_cloud.cascade.certificate import Certificate, certify_threshold, frames_needed

Scores = npt.NDArray[np.float64]
Verdicts = npt.NDArray[np.bool_]


def certify_stages(
    scores: Sequence[Scores], wrong: Sequence[Verdicts], *, alpha: float, delta: float, seed: int = 0
) -> tuple[Certificate, ...]:
    """One certificate for each stage but the last model, in their order.

    Args:
        scores, wrong: (N,) each, of every stage on all N calibration frames, whether they reach it or not.
    Returns:
        certificates; where too few frames are left for a later stage its threshold is infinite.
    Raises:
        SpecError: as `certify_threshold`, and for a first stage with too few frames.
    """
    if len(scores) != len(wrong) or not len(scores):
        raise SpecError(f"a cascade needs scores and verdicts of each stage, not {len(scores)} and {len(wrong)}")
    share = delta / len(scores)
    left = np.ones(scores[0].shape, np.bool_)
    certificates: list[Certificate] = []
    for stage, (stage_scores, stage_wrong) in enumerate(zip(scores, wrong, strict=True)):
        count = int(left.sum())
        if stage and count < frames_needed(alpha, share):
            certificates.append(Certificate(float("inf"), alpha, share, count, 0, 0, 1.0))
            continue
        found = certify_threshold(stage_scores[left], stage_wrong[left], alpha=alpha, delta=share, seed=seed)
        certificates.append(found)
        left &= stage_scores < found.threshold
    return tuple(certificates)


def stages_reached(scores: Sequence[Scores], thresholds: Sequence[float]) -> npt.NDArray[np.intp]:
    """(N,) the stage that answers each frame: the first whose score reaches its threshold, else the last model.

    Args:
        scores, thresholds: of every stage but the last model; scores (N,) each.
    """
    ends = np.full(scores[0].shape, len(scores), np.intp)
    for stage in reversed(range(len(scores))):
        ends[scores[stage] >= thresholds[stage]] = stage
    return ends
