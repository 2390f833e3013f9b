"""Certified thresholds for all stages of a cascade, and where its frames then end. Pure.

A stage meets only frames that no stage before it answered, so that is what its threshold is certified on. The
frames are dealt at random: a quarter is the pilot, the rest goes evenly to the stages. Each is certified on those
of its own part that reach it, which had no say in any threshold before, with an equal share of δ: all hold together
with probability at least 1 - δ, and with them P(wrong | not answered by the last model) ≤ α.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tercet.errors import SpecError
from tercet_cloud.cascade.certificate import PILOT_SHARE, Certificate, certify_split, tested_frames_needed

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
    share = delta / stages
    order = np.random.default_rng(seed).permutation(frames)
    pilot, tested = np.split(order, [int(frames * PILOT_SHARE)])
    parts = np.array_split(tested, stages)
    needed = tested_frames_needed(alpha, share)
    if len(parts[0]) < needed:
        raise SpecError(
            f"{frames} calibration frames cannot certify {stages} exit{'s' if stages > 1 else ''} with a risk of at"
            f" most {alpha:g} and confidence {1 - delta:g}: at least {stages_need(alpha, delta, stages)} are needed"
        )
    left = np.ones(frames, np.bool_)
    certificates: list[Certificate] = []
    for stage_scores, stage_wrong, part in zip(scores, wrong, parts, strict=True):
        known, test = pilot[left[pilot]], part[left[part]]
        if len(test) < needed or not len(known):
            certificates.append(Certificate(float("inf"), alpha, share, len(test), 0, 0, 1.0))
            continue
        found = certify_split(stage_scores[known], stage_scores[test], stage_wrong[test], alpha=alpha, delta=share)
        certificates.append(found)
        left &= stage_scores < found.threshold
    return tuple(certificates)


def stages_need(alpha: float, delta: float, stages: int) -> int:
    """The fewest calibration frames, were no exit ever wrong; later stages need more, as frames exit before."""
    tested = tested_frames_needed(alpha, delta / stages) * stages
    return next(
        count
        for count in range(int(tested / (1 - PILOT_SHARE)), 2 * tested + 2)
        if count - int(count * PILOT_SHARE) >= tested
    )


def stages_reached(scores: Scores, thresholds: Sequence[float]) -> npt.NDArray[np.intp]:
    """(N,) the stage that answers each frame: the first whose score reaches its threshold, else the last model.

    Args:
        scores: (stages, N), of every stage but the last model; thresholds: of the same.
    """
    ends = np.full(scores.shape[1], len(scores), np.intp)
    for stage in reversed(range(len(scores))):
        ends[scores[stage] >= thresholds[stage]] = stage
    return ends
