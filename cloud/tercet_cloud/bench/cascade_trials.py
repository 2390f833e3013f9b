"""Certified and uncertified thresholds over many random calibrations: how often they break the bound. Pure.

A trial is a broken promise if among the exits of any stage more than α are wrong. Where the judged frames are all
there are (draws from the pool, distributions that we made), their risk is the true one and the count is exact.
Where they are held-out frames, their risk is off the true one by chance, both ways; `proved` counts only trials
whose held-out frames could hardly (5 %) have come from a risk within the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from tercet.cascade.exit_rule import ScoreKind
from tercet_cloud.bench.cascade_frames import Indices, JudgedFrames, Outcome, Target, outcome_of
from tercet_cloud.cascade.certificate import certify_threshold
from tercet_cloud.cascade.stages import Scores, Verdicts, certify_stages
from tercet_cloud.measurement.binomial import clopper_pearson

_PROOF = 0.05


@dataclass(frozen=True)
class Promise:
    """Of at most `alpha` wrong among the exits, kept with probability at least 1 - `delta`."""

    alpha: float
    delta: float


@dataclass(frozen=True)
class Trial:
    """One calibration: the judged frames through the cascade, with certified thresholds and with uncertified."""

    certified: Outcome
    uncertified: Outcome


@dataclass(frozen=True)
class BreachRate:
    """In how many of the trials a promise was broken, with the exact 95 % interval of the true rate."""

    trials: int
    broken: int
    proved: int
    rate: float
    low: float
    high: float


def run_trials(
    frames: JudgedFrames,
    divisions: Iterable[tuple[Indices, Indices | None]],
    score: ScoreKind,
    target: Target,
    promise: Promise,
) -> list[Trial]:
    """Certify on the first of each pair of indices, judge on the second (None: on all).

    SpecError if there are too few to certify.
    """
    frames = frames.only(score)
    trials = []
    for seed, (calibration, judged) in enumerate(divisions):
        sample = frames.take(calibration)
        others = frames if judged is None else frames.take(judged)
        scores, wrong = sample.scores[score], sample.wrong(target)
        certificates = certify_stages(scores, wrong, alpha=promise.alpha, delta=promise.delta, seed=seed)
        certified = [certificate.threshold for certificate in certificates]
        uncertified = smallest_thresholds(scores, wrong, promise.alpha)
        trials.append(
            Trial(outcome_of(others, score, target, certified), outcome_of(others, score, target, uncertified))
        )
    return trials


def smallest_thresholds(scores: Scores, wrong: Verdicts, alpha: float) -> list[float]:
    """For each stage the smallest threshold at which at most α of the sample's exits are wrong, as if the sample
    were all there is; infinite if there is none."""
    left = np.ones(scores.shape[1], np.bool_)
    found = []
    for stage_scores, stage_wrong in zip(scores, wrong, strict=True):
        found.append(smallest_threshold(stage_scores[left], stage_wrong[left], alpha))
        left &= stage_scores < found[-1]
    return found


def smallest_threshold(scores: Scores, wrong: Verdicts, alpha: float) -> float:
    """The smallest score of the sample from which upwards at most α are wrong; infinite if there is none."""
    order = np.argsort(-scores)
    ranked = scores[order]
    risks = np.cumsum(wrong[order]) / np.arange(1, len(ranked) + 1)
    # Equal scores exit together: only the last of them shows their risk.
    whole = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.zeros(0, np.bool_)
    kept = np.flatnonzero((risks <= alpha) & whole)
    return float(ranked[kept[-1]]) if len(kept) else float("inf")


def breach_rate(outcomes: Sequence[Outcome], alpha: float) -> BreachRate:
    """How often any stage's exits had more than α wrong."""
    broken = sum(any(risk > alpha for risk in outcome.stage_risks) for outcome in outcomes)
    proved = sum(_proves_more(outcome, alpha) for outcome in outcomes)
    return rate_of(broken, proved, len(outcomes))


def rate_of(broken: int, proved: int, trials: int) -> BreachRate:
    return BreachRate(trials, broken, proved, broken / trials, *clopper_pearson(broken, trials))


def _proves_more(outcome: Outcome, alpha: float) -> bool:
    level = _PROOF / len(outcome.exits)
    return any(
        float(binom.sf(wrong - 1, exits, alpha)) < level
        for wrong, exits in zip(outcome.wrong, outcome.exits, strict=True)
    )


@dataclass(frozen=True)
class Synthetic:
    """Scores uniform in 0…1; `wrong_chance` by score; `risk` of exits by threshold, worked out by hand."""

    name: str
    wrong_chance: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    risk: Callable[[float], float]


def synthetics(alpha: float) -> tuple[Synthetic, ...]:
    """One whose risk falls with the score, and the worst case: just over the bound, and no score tells."""
    flat = 1.1 * alpha
    return (
        Synthetic("falling risk", lambda scores: (1 - scores) ** 2, lambda threshold: (1 - threshold) ** 2 / 3),
        Synthetic("risk 1.1 α at any score", lambda scores: np.full(scores.shape, flat), lambda threshold: flat),
    )


def synthetic_breaches(
    made: Synthetic, frames: int, trials: int, promise: Promise, seed: int
) -> tuple[BreachRate, BreachRate]:
    """Certified and uncertified thresholds of one stage against the known risk of a distribution."""
    generator = np.random.default_rng(seed)
    broken = [0, 0]
    for trial in range(trials):
        scores = generator.uniform(size=frames)
        wrong = generator.uniform(size=frames) < made.wrong_chance(scores)
        certificate = certify_threshold(scores, wrong, alpha=promise.alpha, delta=promise.delta, seed=trial)
        for index, threshold in enumerate(
            (certificate.threshold, smallest_threshold(scores, wrong, promise.alpha))
        ):
            broken[index] += threshold < 1 and made.risk(threshold) > promise.alpha
    certified, uncertified = (rate_of(count, count, trials) for count in broken)
    return certified, uncertified
