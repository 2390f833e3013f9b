from __future__ import annotations

import pytest

from tercet.frame_record import FrameRecord, VisitRecord
from tercet.tiers import Tier
from tercet_cloud.bench.link_overhead import overhead_ms
from tercet_cloud.bench.oracle_conditions import CALIBRATION, CONDITIONS, QUICK, LinkPair
from tercet_cloud.bench.oracle_table import ConditionResult, MeasuredPlan, condition_rows, summarise_oracle
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


def visit(tier: Tier, *, received: int, compute: float, beyond: float) -> VisitRecord:
    return VisitRecord(
        tier=tier,
        node=tier.value,
        from_boundary=0,
        to_boundary=1,
        received_bytes=received,
        queue_ms=0.2,
        decode_ms=0.5,
        compute_ms=compute,
        encode_ms=0.5,
        total_ms=compute + beyond + 2,
        beyond_ms=beyond,
        batch_size=1,
    )


def test_overhead_is_what_neither_tiers_nor_links_account_for() -> None:
    links = LinkPair(LinkCondition.symmetric(8, 20), LinkCondition.symmetric(80, 5))
    record = FrameRecord(
        node="n",
        sequence=1,
        source="photo",
        model="m",
        plan="p",
        latency_ms=100,
        visits=(
            visit(Tier.DEVICE, received=0, compute=10, beyond=80),
            visit(Tier.EDGE, received=5000, compute=5, beyond=30),
            visit(Tier.CLOUD, received=20_000, compute=2, beyond=0),
        ),
    )
    computed, coded = 17, 3
    network = 20 + 5 + 2 + 5 + 0.4 + 0.04
    assert overhead_ms(record, links, answer_bytes=400) == pytest.approx(100 - computed - coded - network)
