"""Choosing a plan per frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tercet.adaptive.link_estimate import LinkEstimate
from tercet.adaptive.plan_choice import Conditions, PlanChooser, TierLoad, forecast
from tercet.errors import SpecError
from tercet.plans import Plan, PlanPrediction
from tercet.tiers import Tier


def plan(
    name: str,
    device_ms: float,
    edge_ms: float = 0,
    cloud_ms: float = 0,
    up: float = 0,
    on: float = 0,
    agreement: float = 1.0,
) -> Plan:
    return Plan(
        id=name,
        device_until=0,
        edge_until=0,
        predicted=PlanPrediction(
            device_ms=device_ms,
            edge_ms=edge_ms,
            cloud_ms=cloud_ms,
            device_edge_bytes=up,
            edge_cloud_bytes=on,
            answer_bytes=4000 if up else 0,
            agreement=agreement,
        ),
    )


LOCAL = plan("local", device_ms=60)
SPLIT = plan("split", device_ms=20, edge_ms=4, up=9_000, agreement=0.99)
REMOTE = plan("remote", device_ms=1, edge_ms=8, up=150_000)
PLANS = (LOCAL, SPLIT, REMOTE)


def link(mbps: float, round_trip_ms: float = 5, **more: float) -> LinkEstimate:
    return LinkEstimate(goodput_mbps=mbps, round_trip_ms=round_trip_ms, age_s=0.0, **more)  # type: ignore[arg-type]


def chosen(mbps: float | None, deadline_ms: float | None = 100, **loads: TierLoad) -> str:
    device_edge = None if mbps is None else link(mbps)
    conditions = Conditions(device_edge, None, {Tier(tier): load for tier, load in loads.items()})
    return PlanChooser(PLANS).choose(conditions, deadline_ms).plan.id


def test_the_quickest_of_good_plans_is_taken_at_every_speed() -> None:
    assert chosen(200) == "remote"
    assert chosen(10) == "split"
    assert chosen(0.5) == "local"
    assert chosen(None) == "local"


def test_a_near_deadline_is_worth_a_little_accuracy_and_a_far_one_is_not() -> None:
    exact, quick = plan("exact", device_ms=80), plan("quick", device_ms=30, agreement=0.9)
    conditions = Conditions(None, None)
    assert PlanChooser((exact, quick)).choose(conditions, 50).plan.id == "quick"
    assert PlanChooser((exact, quick)).choose(conditions, 1000).plan.id == "exact"


def test_a_queue_ahead_moves_work_back() -> None:
    assert chosen(200, edge=TierLoad(queue_ms=90)) == "local"
    assert chosen(200, edge=TierLoad(pace=12)) != "remote"


def test_loss_counts_against_the_link() -> None:
    lossy = Conditions(link(200, loss=0.3), None)
    assert PlanChooser(PLANS).choose(lossy, 100).plan.id == "local"


def test_noise_around_a_tie_does_not_flap() -> None:
    chooser, random = PlanChooser(PLANS), np.random.default_rng(1)
    # Where two plans are equally quick.
    grid = np.linspace(1, 60, 400)
    tie = min(grid, key=lambda mbps: _gap(float(mbps)))
    for _ in range(200):
        chooser.choose(Conditions(link(float(tie) * float(random.normal(1, 0.03))), None), 100)
    assert chooser.switches <= 1


def _gap(mbps: float) -> float:
    times = sorted(
        forecast(one, one.predicted, Conditions(link(mbps), None)).mean_ms for one in PLANS if one.predicted
    )
    return times[1] - times[0]


def test_a_switch_says_why() -> None:
    chooser = PlanChooser(PLANS)
    assert chooser.choose(Conditions(link(200), None), 100).why == ""
    told = chooser.choose(Conditions(link(0.5), None), 100)
    assert told.plan.id == "local"
    assert "local (60 ms" in told.why
    assert "instead of remote" in told.why
    assert chooser.switches == 1


def test_the_forecast_of_later_tiers_leaves_out_what_is_done() -> None:
    whole = plan("whole", device_ms=10, edge_ms=5, cloud_ms=7, up=1000, on=2000)
    conditions = Conditions(link(8, 10), link(80, 20), {Tier.CLOUD: TierLoad(queue_ms=3)})
    assert whole.predicted is not None
    from_edge = forecast(whole, whole.predicted, conditions, Tier.EDGE)
    assert from_edge.mean_ms == pytest.approx(5 + 20 + 6000 * 8 / 80_000 + 7 + 3)
    assert forecast(whole, whole.predicted, conditions).mean_ms == pytest.approx(
        10 + 10 + 5000 * 8 / 8000 + from_edge.mean_ms
    )


def test_an_old_estimate_is_less_certain() -> None:
    def at_age(age_s: float) -> float:
        estimate = LinkEstimate(goodput_mbps=10, round_trip_ms=20, spread_ms=1, age_s=age_s)
        assert SPLIT.predicted is not None
        return forecast(SPLIT, SPLIT.predicted, Conditions(estimate, None)).spread_ms

    assert at_age(30) > at_age(0)
    assert math.isfinite(at_age(float("inf")))


def test_plans_without_prediction_and_loads_that_are_none_are_refused() -> None:
    with pytest.raises(SpecError, match="tercet plan --table"):
        PlanChooser([Plan(id="bare", device_until=0, edge_until=0)])
    with pytest.raises(SpecError, match="no plan"):
        PlanChooser([])
    with pytest.raises(SpecError, match="no load"):
        TierLoad(queue_ms=math.nan)


def test_a_chooser_keeps_its_standing_plan_over_a_new_table_that_has_it_and_refuses_an_empty_one() -> None:
    plans = [
        Plan(
            id=name,
            device_until=1,
            edge_until=1,
            predicted=PlanPrediction(
                device_ms=busy_ms,
                edge_ms=0,
                cloud_ms=0,
                device_edge_bytes=0,
                edge_cloud_bytes=0,
                answer_bytes=0,
                agreement=1,
            ),
        )
        for name, busy_ms in (("a", 10.0), ("b", 20.0), ("c", 5.0))
    ]
    chooser = PlanChooser(plans[:2])
    assert chooser.choose(Conditions(None, None), 100).plan.id == "a"
    chooser.adopt([plans[0], plans[1]])
    assert chooser.standing == "a"
    with pytest.raises(SpecError, match="no plan"):
        chooser.adopt([])
    assert chooser.plan_ids == ("a", "b")
    chooser.adopt([plans[1], plans[2]])
    assert chooser.standing is None
    assert chooser.choose(Conditions(None, None), 100).plan.id == "c"
