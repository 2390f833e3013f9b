"""Exact confidence intervals of a rate that was counted."""

from __future__ import annotations

from math import exp, fsum, lgamma, log, log1p

_BISECTIONS = 60


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The rates between which the true one lies with at least probability `confidence`, whatever it is.

    Args:
        successes: 0…trials.
        trials: independent ones; 0 gives (0, 1). Crops of one photo are not quite independent of each other.
        confidence: between 0 and 1, split evenly between both sides.
    Source: Clopper and Pearson 1934, Biometrika 26(4), 404–413.
    """
    if not 0 <= successes <= trials or not 0 < confidence < 1:
        raise ValueError(f"{successes} of {trials} at confidence {confidence}: no such interval")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _rate_with_tail(tail, successes, trials)
    high = 1.0 if successes == trials else 1 - _rate_with_tail(tail, trials - successes, trials)
    return low, high


def _rate_with_tail(tail: float, least: int, trials: int) -> float:
    """The rate at which at least `least` of `trials` succeed with probability `tail`."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _at_least(least, trials, middle) < tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_least(least: int, trials: int, rate: float) -> float:
    ways = lgamma(trials + 1)
    return fsum(
        exp(
            ways
            - lgamma(count + 1)
            - lgamma(trials - count + 1)
            + count * log(rate)
            + (trials - count) * log1p(-rate)
        )
        for count in range(least, trials + 1)
    )
