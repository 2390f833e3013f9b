"""Exact confidence intervals of a rate that was counted."""

from __future__ import annotations

from scipy.stats import beta


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
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high
