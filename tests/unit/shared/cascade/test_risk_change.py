"""Sequential tests of a changed risk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cascade.risk_change import RiskFall, RiskRise


def verdicts_until(test: RiskRise | RiskFall, random: np.random.Generator, risk: float, level: float) -> int:
    """How many verdicts of so much risk it takes to the level; 20,000 if not within as many."""
    for count, value in enumerate(random.uniform(size=20_000).tolist(), 1):
        if test.learn(value < risk) >= level:
            return count
    return 20_000


@pytest.mark.parametrize("alpha", [0.02, 0.1])
def test_at_the_bound_a_level_is_reached_no_sooner_than_promised(alpha: float) -> None:
    for kind in (RiskRise, RiskFall):
        random = np.random.default_rng(1)
        counts = [verdicts_until(kind(alpha), random, alpha, level=100) for _ in range(300)]
        # Less three standard errors of a waiting time.
        assert np.mean(counts) > 100 * (1 - 3 / 300**0.5)


def test_a_large_rise_and_a_fall_to_none_are_found_within_stated_verdicts() -> None:
    random = np.random.default_rng(2)
    rises = [verdicts_until(RiskRise(0.05), random, 0.5, level=10_000) for _ in range(50)]
    assert np.median(rises) <= 20
    assert verdicts_until(RiskFall(0.05), random, 0.0, level=2_000) <= 120


def test_a_rise_is_found_as_fast_after_a_long_quiet_time() -> None:
    random = np.random.default_rng(3)
    test = RiskRise(0.05)
    for _ in range(5000):
        test.learn(bool(random.uniform() < 0.01))
    assert verdicts_until(test, random, 0.5, level=10_000) <= 40


def test_a_fall_is_found_as_fast_after_a_long_bad_time() -> None:
    test = RiskFall(0.05)
    for _ in range(500):
        test.learn(wrong=True)
    assert verdicts_until(test, np.random.default_rng(4), 0.0, level=2_000) <= 120


@given(st.floats(0.001, 0.5), st.lists(st.booleans(), max_size=40))
def test_a_wrong_verdict_speaks_for_a_rise_and_against_a_fall(alpha: float, before: list[bool]) -> None:
    for kind in (RiskRise, RiskFall):
        right, wrong = kind(alpha), kind(alpha)
        for verdict in before:
            right.learn(verdict)
            wrong.learn(verdict)
        speaks_for = wrong.learn(wrong=True) - right.learn(wrong=False)
        assert speaks_for > 0 if kind is RiskRise else speaks_for < 0
