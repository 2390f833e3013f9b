from __future__ import annotations

import pytest

from tercet.frame_record import FrameRecord, VisitRecord
from tercet.tiers import Tier
from tercet_cloud.bench.oracle_conditions import CALIBRATION, CONDITIONS, QUICK, LinkPair
from tercet_cloud.bench.oracle_table import ConditionResult, MeasuredPlan, condition_rows, summarise_oracle
from tercet_cloud.bench.stack_calibration import PlanShare, stack_figures
from tercet_cloud.emulation.link_condition import LinkCondition


def plan(*roles: str, measured: float, predicted: float | None = None, contender: bool = True) -> MeasuredPlan:
    return MeasuredPlan("route", roles, predicted or measured, measured, measured, 7, contender)


RESULT = ConditionResult(
    "net",
    "links",
    (
        plan("chosen", "best of device and edge", measured=50, predicted=45),
        plan("all-device", measured=100, predicted=110),
        plan("all-cloud (raw)", measured=400),
        plan("all-cloud (jpeg:95)", measured=75, contender=False),
        plan("grid", measured=40, predicted=60),
        plan("grid", measured=10, contender=False),
    ),
)


def test_regret_is_against_the_best_that_keeps_all_constraints_and_was_measured_as_often() -> None:
    assert RESULT.best.measured_ms == 40
    assert RESULT.regret == pytest.approx(1.25)


def test_speed_ups_are_over_the_quickest_plan_of_a_kind() -> None:
    assert RESULT.speed_up("all-cloud") == pytest.approx(1.5)
    assert RESULT.speed_up("all-device") == pytest.approx(2)
    assert RESULT.speed_up("DADS-style") is None


def test_errors_are_of_contenders_and_relative_to_what_was_measured() -> None:
    summary = summarise_oracle([RESULT])
    assert summary["prediction_error"] == {
        "chosen_median": 0.1,
        "contenders_median": 0.1,
        "contenders_bias_median": -0.05,
    }
    assert summary["met"] == {"regret_median": False, "regret_worst": False, "prediction_error_median": True}


def test_all_plans_are_kept_for_machines() -> None:
    (row,) = condition_rows([RESULT])
    plans = row["plans"]
    assert isinstance(plans, list)
    assert len(plans) == 6
    assert plans[0]["error"] == 0.1


def test_the_calibration_condition_is_not_evaluated() -> None:
    assert CALIBRATION not in CONDITIONS
    assert len(set(CONDITIONS)) == len(CONDITIONS) >= 12
    assert set(QUICK) <= set(CONDITIONS)


def visit(tier: Tier, *, received: int, compute: float) -> VisitRecord:
    return VisitRecord(
        tier=tier,
        node=tier.value,
        from_boundary=0,
        to_boundary=1,
        received_bytes=received,
        queue_ms=0.2,
        decode_ms=9.0,
        compute_ms=compute,
        encode_ms=9.0,
        total_ms=0.0,
        beyond_ms=0.0,
        batch_size=1,
    )


def record(latency_ms: float, *visits: VisitRecord) -> FrameRecord:
    return FrameRecord(
        node="n", sequence=1, source="photo", model="m", plan="p", latency_ms=latency_ms, visits=visits
    )


def test_slowdowns_and_overheads_are_what_profiles_and_links_do_not_account_for() -> None:
    """Device 10, edge 3 times slower; coding as tabled; 2.5 and 4 ms of messaging."""
    links = LinkPair(LinkCondition.symmetric(8, 20), LinkCondition.symmetric(80, 5))
    device, edge, cloud = Tier.DEVICE, Tier.EDGE, Tier.CLOUD
    to_edge = PlanShare({device: 2, edge: 4, cloud: 0}, {device: 0.1, edge: 0.2, cloud: 0})
    to_cloud = PlanShare({device: 2, edge: 1, cloud: 3}, {device: 0.1, edge: 0.5, cloud: 0.2})
    first_link = 20 + 5 + 0.4
    second_link = 5 + 2 + 0.04
    near = record(
        20 + 12 + 1.0 + 0.6 + first_link + 2.5,
        visit(device, received=0, compute=20),
        visit(edge, received=5000, compute=12),
    )
    far = record(
        20 + 3 + 6 + 1.0 + 1.5 + 0.4 + first_link + second_link + 6.5,
        visit(device, received=0, compute=20),
        visit(edge, received=5000, compute=3),
        visit(cloud, received=20_000, compute=6),
    )
    found = stack_figures([near] * 3, to_edge, [far] * 3, to_cloud, links, answer_bytes=400)
    assert (found.device_slowdown, found.edge_slowdown, found.cloud_slowdown) == (10, 3, 2)
    assert found.device_edge_overhead_ms == pytest.approx(2.5)
    assert found.edge_cloud_overhead_ms == pytest.approx(4.0)
