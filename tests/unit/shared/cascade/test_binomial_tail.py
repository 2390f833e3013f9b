"""Binomial tails for devices."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from tercet.cascade.binomial_tail import at_most


@pytest.mark.parametrize(
    ("count", "trials", "rate"), [(0, 10, 0.05), (3, 40, 0.1), (40, 40, 0.9), (17, 400, 0.05), (-1, 9, 0.5)]
)
def test_tails_equal_those_of_the_library(count: int, trials: int, rate: float) -> None:
    assert at_most(count, trials, rate) == pytest.approx(binom.cdf(count, trials, rate))
