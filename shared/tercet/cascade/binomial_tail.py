"""Exact binomial tails without SciPy, for devices."""

from __future__ import annotations

from math import exp, lgamma, log, log1p


def at_most(successes: int, trials: int, rate: float) -> float:
    """P(X ≤ successes), X binomial of `trials` with chance `rate`, 0 < rate < 1."""
    ways = lgamma(trials + 1)
    return min(
        1.0,
        sum(
            exp(
                ways
                - lgamma(count + 1)
                - lgamma(trials - count + 1)
                + count * log(rate)
                + (trials - count) * log1p(-rate)
            )
            for count in range(successes + 1)
        ),
    )
