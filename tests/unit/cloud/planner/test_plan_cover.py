"""The fewest plans that cover all conditions: against trying all sets of plans."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.errors import InfeasibleError
from tercet_cloud.planner.cuts.linear_cost import Float64Array
from tercet_cloud.planner.table.plan_cover import nearest_cover, smallest_cover

seeds = st.integers(0, 2**32 - 1)


def random_case(seed: int) -> tuple[Float64Array, list[tuple[int, int]]]:
    rng = np.random.default_rng(seed)
    conditions, plans = int(rng.integers(1, 9)), int(rng.integers(1, 7))
    gaps = rng.choice([0, 0.01, 0.04, 0.06, 0.3, np.inf], (conditions, plans))
    gaps[np.arange(conditions), rng.integers(plans, size=conditions)] = 0
    conflicts = [pair for pair in combinations(range(plans), 2) if rng.random() < 0.25]
    return gaps, conflicts


def worst_by_trying(gaps: Float64Array, conflicts: list[tuple[int, int]], most: int) -> float:
    """The least worst gap of any set of at most so many plans."""
    plans = range(gaps.shape[1])
    sets = chain.from_iterable(combinations(plans, count) for count in range(1, most + 1))
    kept = [list(chosen) for chosen in sets if not any({*pair} <= {*chosen} for pair in conflicts)]
    return min((float(gaps[:, chosen].min(axis=1).max()) for chosen in kept), default=np.inf)


@settings(deadline=None)
@given(seeds)
def test_no_smaller_set_is_within_the_slack(seed: int) -> None:
    gaps, conflicts = random_case(seed)
    chosen = smallest_cover(gaps, conflicts, 0.05)
    if chosen is None:
        assert worst_by_trying(gaps, conflicts, gaps.shape[1]) > 0.05
        return
    assert gaps[:, chosen].min(axis=1).max() <= 0.05
    assert not any({*pair} <= {*chosen} for pair in conflicts)
    assert worst_by_trying(gaps, conflicts, len(chosen) - 1) > 0.05


@settings(deadline=None)
@given(seeds)
def test_no_set_has_a_smaller_worst_gap(seed: int) -> None:
    gaps, conflicts = random_case(seed)
    expected = worst_by_trying(gaps, conflicts, gaps.shape[1])
    if np.isinf(expected):
        with pytest.raises(InfeasibleError, match="parts of it apart"):
            nearest_cover(gaps, conflicts)
        return
    chosen, worst = nearest_cover(gaps, conflicts)
    assert worst == expected
    assert gaps[:, chosen].min(axis=1).max() == expected


def test_among_sets_of_equal_size_the_nearer_one_is_taken() -> None:
    gaps = np.array([[0.04, 0.0, 0.03], [0.04, 0.01, 0.03]])
    assert smallest_cover(gaps, [], 0.05) == [1]


def test_no_conditions_need_no_plans() -> None:
    assert smallest_cover(np.zeros((0, 3)), [], 0.05) == []
