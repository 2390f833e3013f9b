from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tercet_cloud.bench.oracle_groups import MOST_CUTS, group_plans, inner_cuts
from tercet_cloud.planner.costs.candidate import Candidate

OPERATIONS = 6


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    """Two nested sets of operations; a network without edges allows all."""
    until_cloud = draw(st.frozensets(st.integers(0, OPERATIONS - 1)))
    device = draw(st.frozensets(st.sampled_from(sorted(until_cloud)))) if until_cloud else frozenset[int]()
    return Candidate(device, until_cloud, (draw(st.sampled_from(["raw", "int8"])), "raw"))


POOLS = st.lists(st.lists(candidates(), min_size=1, max_size=8), min_size=1, max_size=4)


@given(POOLS)
def test_every_plan_is_in_one_group_and_every_group_is_a_chain(pools: list[list[Candidate]]) -> None:
    groups = group_plans(pools, OPERATIONS)
    placed = [candidate for group in groups for candidate in group.candidates]
    assert len(placed) == len(set(placed))
    assert set(placed) == {candidate for pool in pools for candidate in pool}
    for group in groups:
        cuts = sorted(group.cuts, key=len)
        assert len(cuts) <= MOST_CUTS
        assert all(smaller < larger for smaller, larger in pairwise(cuts))
        assert all(inner_cuts(candidate, OPERATIONS) <= group.cuts for candidate in group.candidates)


def test_plans_that_fit_one_chain_share_it() -> None:
    steps = [frozenset(range(count)) for count in range(OPERATIONS + 1)]
    pool = [
        Candidate(steps[OPERATIONS], steps[OPERATIONS], ("raw", "raw")),
        Candidate(steps[0], steps[0], ("raw", "raw")),
        Candidate(steps[1], steps[3], ("raw", "int8")),
        Candidate(steps[2], steps[OPERATIONS], ("int8", "raw")),
    ]
    (group,) = group_plans([pool], OPERATIONS)
    assert group.candidates == pool


def test_cuts_that_cross_each_other_part() -> None:
    pool = [Candidate(frozenset({branch}), frozenset({branch}), ("raw", "raw")) for branch in (0, 1)]
    assert len(group_plans([pool], OPERATIONS)) == 2
