"""The smallest exit threshold that is certified: P(wrong | exit) ≤ α, with probability at least 1 - δ.

"Wrong" is a disagreement with the large model, or with the label. The frames are split: a pilot part fixes the
sequence of thresholds to try, from strict to lenient; on the rest each is tested in that order by an exact binomial
test, and the first that fails ends it. Fixed-sequence testing keeps the chance of certifying any bad threshold
below δ without dividing δ by their number.

Source: Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052, section 4 (fixed sequence testing); Clopper &
Pearson 1934 for the binomial tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom

from tercet.errors import SpecError

PILOT_SHARE = 0.25
# The sequence starts where the pilot lets expect this many times the exits that a perfect record would need, so
# that it does not end there for want of exits.
_START_EXITS = 2.5
_STEPS = 100


@dataclass(frozen=True)
class Certificate:
    """What was certified.

    Attributes:
        threshold: exit at scores of at least this; infinite if nothing could be certified.
        alpha, delta: the promise: P(wrong | exit) ≤ alpha with probability ≥ 1 - delta.
        frames: tested; the pilot's are not among them.
        exits, wrong: at the threshold, among the tested frames.
        bound: upper 1 - delta confidence bound of the risk at the threshold, by itself.
    """

    threshold: float
    alpha: float
    delta: float
    frames: int
    exits: int
    wrong: int
    bound: float

    @property
    def exit_share(self) -> float:
        return self.exits / self.frames if self.frames else 0.0


def certify_threshold(
    scores: npt.NDArray[np.float64],
    wrong: npt.NDArray[np.bool_],
    *,
    alpha: float,
    delta: float,
    seed: int = 0,
) -> Certificate:
    """The smallest certified threshold of one stage.

    Args:
        scores: (N,) of `exit_rule.scores_of`, one per calibration frame.
        wrong: (N,) whether the stage's answer would be wrong.
        alpha, delta: 0…1, exclusive.
        seed: of the split into pilot and test.
    Returns:
        a certificate; its threshold is infinite if even the strictest threshold fails its test.
    Raises:
        SpecError: alpha or delta impossible, NaN among the scores, or too few frames for them: says how many.
    """
    _check(scores, wrong, alpha, delta)
    order = np.random.default_rng(seed).permutation(len(scores))
    pilot_count = int(len(scores) * PILOT_SHARE)
    pilot, test = order[:pilot_count], order[pilot_count:]
    return certify_split(scores[pilot], scores[test], wrong[test], alpha=alpha, delta=delta)


def certify_split(
    pilot_scores: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    wrong: npt.NDArray[np.bool_],
    *,
    alpha: float,
    delta: float,
) -> Certificate:
    """As `certify_threshold`, for frames that were split before, such as by what else was fitted on the pilot.

    Args:
        pilot_scores: of the pilot part; nothing about the other part may depend on the frames of this test.
        scores, wrong: (N,) of the tested frames.
    """
    thresholds = _sequence(pilot_scores, len(scores), alpha, delta)
    ranked = np.argsort(scores)
    below = np.searchsorted(scores[ranked], thresholds)
    exits = len(scores) - below
    failures = int(wrong.sum()) - np.concatenate(([0], np.cumsum(wrong[ranked])))[below]
    # The chance of so few wrong ones if the risk were alpha.
    passed = binom.cdf(failures, exits, alpha) <= delta
    last = (len(passed) if passed.all() else int(np.argmin(passed))) - 1
    if last < 0:
        return Certificate(float("inf"), alpha, delta, len(scores), 0, 0, 1.0)
    count, missed = int(exits[last]), int(failures[last])
    bound = upper_bound(missed, count, delta)
    return Certificate(float(thresholds[last]), alpha, delta, len(scores), count, missed, bound)


def frames_needed(alpha: float, delta: float) -> int:
    """The fewest calibration frames from which anything can be certified, if no exit is ever wrong."""
    return ceil(tested_frames_needed(alpha, delta) / (1 - PILOT_SHARE))


def tested_frames_needed(alpha: float, delta: float) -> int:
    """The part of `frames_needed` that is not the pilot's."""
    return ceil(exits_needed(alpha, delta) * _START_EXITS)


def exits_needed(alpha: float, delta: float) -> int:
    """Exits without a wrong one that prove a risk of at most alpha."""
    return ceil(log(delta) / log(1 - alpha))


def strictest_share(test_frames: int, alpha: float, delta: float) -> float:
    """The share of exits at which the sequence of thresholds begins."""
    return min(1.0, exits_needed(alpha, delta) * _START_EXITS / test_frames)


def upper_bound(wrong: int, exits: int, delta: float) -> float:
    """One-sided Clopper–Pearson bound of the risk; 1 without exits."""
    return float(beta.ppf(1 - delta, wrong + 1, exits - wrong)) if wrong < exits else 1.0


def _sequence(
    pilot_scores: npt.NDArray[np.float64], test_frames: int, alpha: float, delta: float
) -> npt.NDArray[np.float64]:
    """Thresholds from strict to lenient, from the pilot's scores alone."""
    start_share = strictest_share(test_frames, alpha, delta)
    shares = np.linspace(start_share, 1.0, _STEPS)
    thresholds = np.quantile(pilot_scores, 1 - shares, method="lower")
    ordered: npt.NDArray[np.float64] = np.unique(thresholds)[::-1]
    return ordered


def _check(scores: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_], alpha: float, delta: float) -> None:
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise SpecError(f"alpha and delta lie between 0 and 1; {alpha:g} and {delta:g} promise nothing")
    if scores.shape != wrong.shape or scores.ndim != 1:
        raise SpecError(f"one score and one verdict a frame are needed, not {scores.shape} and {wrong.shape}")
    if not np.isfinite(scores).all():
        raise SpecError("exit scores must be finite; some of these are NaN or infinite")
    needed = frames_needed(alpha, delta)
    if len(scores) < needed:
        raise SpecError(
            f"{len(scores)} calibration frames cannot certify a risk of at most {alpha:g} with confidence "
            f"{1 - delta:g}: at least {needed} are needed, more if some answers are wrong"
        )
