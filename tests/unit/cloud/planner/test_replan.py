"""Plan tables made again over deployed blocks: as good as all that can be planned, and nothing unmeasured."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.block_costs import tiny_costs
from tercet.adaptive.link_estimate import LinkEstimate
from tercet.adaptive.plan_choice import Conditions, forecast, value_of
from tercet.block_costs import BlockCosts, BoundaryCoding, TierTimes
from tercet.errors import InfeasibleError
from tercet.identifiers import ModelRef
from tercet.plans import Plan
from tercet.tiers import Tier
from tercet_cloud.planner.replan import SLACK, Holdings, PlanColumns, conditions_around, every_plan, replan

MODEL = ModelRef("tiny@0123456789ab")
ALL = Holdings(9, frozenset(range(9)), frozenset(range(9)))
LINKS = (LinkEstimate(20.0, 5.0, spread_ms=1.0), LinkEstimate(50.0, 30.0, spread_ms=2.0))

milliseconds = st.floats(0.01, 50)
speeds = st.builds(
    lambda mbps, trip: LinkEstimate(mbps, trip, spread_ms=trip / 10), st.floats(0.1, 1000), st.floats(0.1, 200)
)


@st.composite
def any_costs(draw: st.DrawFn) -> BlockCosts:
    """Up to four blocks, two lossless codings at each boundary and two that may or may not have been measured."""
    blocks = draw(
        st.lists(
            st.builds(TierTimes, device=milliseconds, edge=milliseconds, cloud=milliseconds), min_size=1, max_size=4
        )
    )
    boundaries = []
    for _ in blocks:
        codings = []
        for spec, lossless in (("raw", True), ("raw+zstd:3", True), ("fp16", False), ("int8", False)):
            codings.append(
                BoundaryCoding(
                    spec=spec,
                    bytes=draw(st.floats(100, 1e6)),
                    encode_ms=draw(st.floats(0, 3)),
                    decode_ms=draw(st.floats(0, 3)),
                    agreement=1 if lossless else draw(st.none() | st.floats(0.5, 1)),
                    lossless=lossless,
                )
            )
        boundaries.append(tuple(codings))
    return BlockCosts(
        model=MODEL,
        blocks=tuple(blocks),
        session_ms=TierTimes(device=0.1, edge=0.2, cloud=0.3),
        coding_pace=TierTimes(device=3, edge=2, cloud=1),
        boundaries=(*boundaries, ()),
        answer_bytes=1000,
    )


def all_plans(costs: BlockCosts) -> list[Plan]:
    """Every pair of boundaries with every pair of codecs, whether they are worth anything or not."""
    last = costs.last_boundary
    specs = [[coding.spec for coding in codings] or ["raw"] for codings in costs.boundaries]
    made = [
        costs.plan(first, second, one, other)
        for first in range(last + 1)
        for second in range(first, last + 1)
        for one, other in product(specs[first], specs[second])
    ]
    return [plan for plan in made if plan is not None]


def judged(plan: Plan, conditions: Conditions, deadline_ms: float | None) -> tuple[float, float]:
    """Value and mean ms, as nodes see them."""
    assert plan.predicted is not None
    expected = forecast(plan, plan.predicted, conditions)
    return value_of(plan.predicted, expected, deadline_ms), expected.mean_ms


@settings(max_examples=40, deadline=None)
@given(costs=any_costs(), first=speeds, second=speeds, deadline_ms=st.none() | st.floats(5, 2000))
def test_under_every_condition_a_plan_of_the_table_is_nearly_as_good_as_the_best_of_all(
    costs: BlockCosts, first: LinkEstimate, second: LinkEstimate, deadline_ms: float | None
) -> None:
    table = replan(costs, {}, (first, second), deadline_ms, ALL, max_plans=1000)
    everything = all_plans(costs)
    for conditions in conditions_around((first, second))[::5]:
        values, latencies = zip(*(judged(plan, conditions, deadline_ms) for plan in everything), strict=True)
        best = max(values)
        allowed_ms = latencies[values.index(best)] * (1 + SLACK) + 1e-6
        good_ms = [
            mean_ms
            for value, mean_ms in (judged(plan, conditions, deadline_ms) for plan in table)
            if value >= best - SLACK * abs(best) - 1e-9
        ]
        assert good_ms
        assert min(good_ms) <= allowed_ms


@settings(max_examples=40, deadline=None)
@given(costs=any_costs(), first=speeds)
def test_what_was_not_measured_is_never_planned(costs: BlockCosts, first: LinkEstimate) -> None:
    for plan in replan(costs, {}, (first, LINKS[1]), None, ALL):
        lossy = []
        for _, boundary, spec in plan.crossings():
            if boundary < costs.last_boundary:
                coding = costs.coding(boundary, spec)
                assert coding.agreement is not None
                lossy += [(boundary, spec)] * (not coding.lossless)
        # No pair of lossy codings was measured.
        assert len(set(lossy)) <= 1
        assert len(lossy) <= 1 or plan.passes_edge


@settings(max_examples=30, deadline=None)
@given(costs=any_costs(), first=speeds, second=speeds, deadline_ms=st.none() | st.floats(5, 2000))
def test_many_plans_at_once_are_judged_as_the_chooser_judges_one(
    costs: BlockCosts, first: LinkEstimate, second: LinkEstimate, deadline_ms: float | None
) -> None:
    plans = list(every_plan(costs, {Tier.DEVICE: 3.0}, ALL))
    predictions = [plan.predicted for plan in plans if plan.predicted is not None]
    for conditions in conditions_around((first, second))[::11]:
        mean_ms, values = PlanColumns(predictions).judged(conditions, deadline_ms)
        expected = [
            forecast(plan, predicted, conditions) for plan, predicted in zip(plans, predictions, strict=True)
        ]
        assert mean_ms.tolist() == pytest.approx([each.mean_ms for each in expected])
        assert values.tolist() == pytest.approx(
            [value_of(p, each, deadline_ms) for p, each in zip(predictions, expected, strict=True)], abs=1e-6
        )


def test_a_measured_pair_of_lossy_codings_may_be_planned_with_its_own_agreement() -> None:
    pair = next(
        plan
        for plan in every_plan(tiny_costs(MODEL), {}, ALL)
        if (plan.device_until, plan.edge_until, plan.codecs.device_edge, plan.codecs.edge_cloud)
        == (1, 2, "fp16", "fp16")
    )
    assert pair.predicted is not None
    assert pair.predicted.agreement == 0.98


def test_the_plan_without_links_is_always_in_the_table_of_a_device_that_holds_all() -> None:
    table = replan(tiny_costs(MODEL), {Tier.DEVICE: 500.0}, LINKS, None, ALL)
    assert any(plan.device_until == 3 for plan in table)
    assert table[0].device_until < 3


def test_a_table_asks_no_tier_for_segments_that_it_does_not_hold() -> None:
    holdings = Holdings(1, frozenset({1}), frozenset({1, 2}))
    table = replan(tiny_costs(MODEL), {}, LINKS, None, holdings)
    assert {(plan.device_until, plan.edge_until) for plan in table} <= {(1, 1), (1, 2)}
    with pytest.raises(InfeasibleError, match="copy more"):
        replan(tiny_costs(MODEL), {}, LINKS, None, Holdings(0, frozenset(), frozenset()))


def test_cuts_that_break_a_limit_of_memory_are_left_out() -> None:
    costs = tiny_costs(MODEL).model_copy(update={"barred_cuts": ((3, 3), (0, 3))})
    cuts = {(plan.device_until, plan.edge_until) for plan in every_plan(costs, {}, ALL)}
    assert (3, 3) not in cuts
    assert (0, 3) not in cuts
    assert (0, 2) in cuts


def test_a_slow_tier_is_given_less_to_do() -> None:
    near = (LinkEstimate(1000.0, 0.1), LinkEstimate(1000.0, 30.0))
    quick = replan(tiny_costs(MODEL), {Tier.EDGE: 3.0}, near, None, ALL)[0]
    slow = replan(tiny_costs(MODEL), {Tier.EDGE: 1.0, Tier.DEVICE: 30.0}, near, None, ALL)[0]
    assert quick.device_until == 3
    assert slow.device_until == 0


def test_no_more_plans_are_kept_than_asked_for() -> None:
    assert len(replan(tiny_costs(MODEL), {}, LINKS, None, ALL, max_plans=1)) <= 2
