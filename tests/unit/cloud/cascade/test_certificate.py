"""Certified exit thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.errors import SpecError
from tercet_cloud.cascade.certificate import certify_threshold, exits_needed, frames_needed, upper_bound

ALPHA = DELTA = 0.1


def frames(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores 0…1; an answer is wrong with probability (1 - score) / 2, so the exits' risk at t is (1 - t) / 4."""
    scores = random.uniform(0, 1, count)
    return scores, random.uniform(0, 1, count) < (1 - scores) / 2


def true_risk(threshold: float) -> float:
    return (1 - threshold) / 4 if threshold <= 1 else 0.0


def test_bad_thresholds_are_certified_no_more_often_than_promised() -> None:
    random = np.random.default_rng(5)
    trials = 400
    certified = [certify_threshold(*frames(random, 300), alpha=ALPHA, delta=DELTA, seed=n) for n in range(trials)]
    violated = sum(true_risk(found.threshold) > ALPHA for found in certified)
    # Three standard deviations above delta would be a broken promise.
    assert violated / trials <= DELTA + 3 * (DELTA * (1 - DELTA) / trials) ** 0.5
    assert violated > 0  # a certificate that is never violated at all wastes exits


def test_more_frames_certify_more_exits_up_to_what_is_true() -> None:
    random = np.random.default_rng(6)
    shares = [
        np.mean([certify_threshold(*frames(random, n), alpha=ALPHA, delta=DELTA).exit_share for _ in range(20)])
        for n in (100, 1000, 20_000)
    ]
    # At threshold 0.6 the risk is alpha: 40 % may exit.
    assert shares[0] < shares[1] < shares[2] < 0.405
    assert shares[2] > 0.36


def test_a_stage_that_is_always_wrong_never_exits() -> None:
    scores = np.linspace(0, 1, 500)
    found = certify_threshold(scores, np.ones(500, bool), alpha=ALPHA, delta=DELTA)
    assert found.threshold == float("inf")
    assert found.exits == 0
    assert found.bound == 1


def test_a_stage_that_is_never_wrong_always_exits() -> None:
    scores = np.linspace(0, 1, 500)
    found = certify_threshold(scores, np.zeros(500, bool), alpha=ALPHA, delta=DELTA)
    assert found.exit_share > 0.98


def test_equal_scores_exit_together() -> None:
    found = certify_threshold(np.full(400, 0.7), np.zeros(400, bool), alpha=ALPHA, delta=DELTA)
    assert (found.threshold, found.exits) == (0.7, 300)


def test_too_few_frames_are_refused_with_the_number_needed() -> None:
    needed = frames_needed(0.05, 0.05)
    with pytest.raises(SpecError, match=f"at least {needed} are needed"):
        certify_threshold(np.zeros(needed - 1), np.zeros(needed - 1, bool), alpha=0.05, delta=0.05)
    found = certify_threshold(np.zeros(needed), np.zeros(needed, bool), alpha=0.05, delta=0.05)
    assert found.exits > 0


def test_exits_needed_is_the_least_that_proves_the_risk() -> None:
    count = exits_needed(0.05, 0.05)
    assert count == 59
    assert upper_bound(0, count, 0.05) <= 0.05 < upper_bound(0, count - 1, 0.05)


@pytest.mark.parametrize(("alpha", "delta"), [(0, 0.1), (1, 0.1), (0.1, 0), (0.1, 1.5)])
def test_impossible_promises_are_refused(alpha: float, delta: float) -> None:
    with pytest.raises(SpecError, match="between 0 and 1"):
        certify_threshold(np.zeros(999), np.zeros(999, bool), alpha=alpha, delta=delta)


def test_scores_that_are_none_are_refused() -> None:
    with pytest.raises(SpecError, match="finite"):
        certify_threshold(np.array([np.nan] * 999), np.zeros(999, bool), alpha=0.1, delta=0.1)
