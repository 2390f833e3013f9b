"""Retries stay a share of calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.adaptive.retry_budget import RetryBudget
from tercet.errors import SpecError


@given(st.lists(st.integers(0, 20), max_size=200))
def test_retries_never_exceed_a_tenth_of_calls_and_the_burst(wanted: list[int]) -> None:
    budget = RetryBudget(share=0.1, burst=3)
    retries = 0
    for calls, tries in enumerate(wanted, 1):
        budget.called()
        retries += sum(budget.take() for _ in range(tries))
        assert retries <= 3 + 0.1 * calls + 1e-6


def test_what_quiet_times_save_is_bounded() -> None:
    budget = RetryBudget(share=0.5, burst=2)
    for _ in range(1000):
        budget.called()
    assert [budget.take() for _ in range(4)] == [True, True, False, False]


def test_an_impossible_budget_is_refused() -> None:
    with pytest.raises(SpecError, match="share"):
        RetryBudget(share=1.5)
