"""Certified thresholds for all stages of a cascade, and where its frames then end. Pure.

A stage meets only frames that no stage before it answered, so that is what its threshold is certified on. The
frames are dealt at random: a quarter is the pilot, the rest goes evenly to the stages. Each is certified on those
of its own part that reach it, which had no say in any threshold before, with an equal share of δ: all hold together
with probability at least 1 - δ, and with them P(wrong | not answered by the last model) ≤ α.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tercet.errors import SpecError
from tercet_cloud.cascade.certificate import PILOT_SHARE, Certificate, certify_split, tested_frames_needed

Scores = npt.NDArray[np.float64]
Verdicts = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DealtFrames:
    """Frame indices: the pilot's, and those that each stage is tested on."""

    pilot: npt.NDArray[np.intp]
    tests: tuple[npt.NDArray[np.intp], ...]


def deal_frames(frames: int, stages: int, seed: int = 0) -> DealtFrames:
    """Every frame to the pilot or to one stage, at random."""
    order = np.random.default_rng(seed).permutation(frames)
    pilot, tested = np.split(order, [int(frames * PILOT_SHARE)])
    return DealtFrames(np.sort(pilot), tuple(map(np.sort, np.array_split(tested, stages))))


def require_frames(frames: int, *, alpha: float, delta: float, stages: int) -> None:
    """SpecError that says how many frames are needed, for what can be told before any is computed."""
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise SpecError(f"alpha and delta lie between 0 and 1; {alpha:g} and {delta:g} promise nothing")
    needed = stages_need(alpha, delta, stages)
    if frames < needed:
        raise SpecError(
            f"{frames} calibration frames cannot certify {stages} exit{'s' if stages > 1 else ''} with a risk of "
            f"at most {alpha:g} and confidence {1 - delta:g}: at least {needed} are needed, and more where answers "
            "are wrong or frames exit before"
        )


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
    require_frames(frames, alpha=alpha, delta=delta, stages=stages)
    dealt = deal_frames(frames, stages, seed)
    needed = tested_frames_needed(alpha, share)
    left = np.ones(frames, np.bool_)
    certificates: list[Certificate] = []
    for stage_scores, stage_wrong, part in zip(scores, wrong, dealt.tests, strict=True):
        known, test = dealt.pilot[left[dealt.pilot]], part[left[part]]
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
