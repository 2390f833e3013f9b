"""What the demo makes of its bandwidth step and its cascade."""

from __future__ import annotations

from pathlib import Path

import pytest

from tercet.adaptive.link_estimate import LinkEstimate
from tercet.cascade.document import AuditTerms, Cascade, CascadeStage, ExitCertificate
from tercet.cascade.exit_rule import ExitRule
from tercet.frame_record import FrameRecord, VisitRecord
from tercet.identifiers import ModelRef
from tercet.plans import Deployment, LinkCodecs, Plan, PlanPrediction
from tercet.tiers import Tier
from tercet_cloud.demo.cascade import device_exits, write_sent_crops
from tercet_cloud.demo.cascade_figures import cascade_figures
from tercet_cloud.demo.setting import DEVICE_SLOWDOWN, STEP_DEVICE_SLOWDOWN
from tercet_cloud.demo.step import (
    PLANS,
    expected_plans,
    step_deadline_ms,
    step_deployment,
    strip_line,
    whole_records,
)
from tercet_cloud.demo.step_figures import Phase, StepFigures, best_plan, step_figures

PHASES = (Phase("fast", 20, 0, 2), Phase("slow", 1, 2, 4), Phase("fast again", 20, 4, 6))
SMALL, LARGE = ModelRef("small@000000000000"), ModelRef("large@111111111111")


def frame(at_s: float, plan: str, latency_ms: float = 100.0, **more: object) -> FrameRecord:
    return FrameRecord.model_validate(
        {
            "node": "d",
            "sequence": 1,
            "source": "a.png",
            "model": "m@000000000000",
            "plan": plan,
            "latency_ms": latency_ms,
            "ended_s": 1000 + at_s + latency_ms / 1000,
            **more,
        }
    )


def figures(*records: FrameRecord, expected_frames: int | None = None) -> StepFigures:
    return step_figures(
        records,
        PHASES,
        1000.0,
        deadline_ms=150,
        setting="emulated",
        expected_plans=["cut", "whole"],
        expected_frames=len(records) if expected_frames is None else expected_frames,
    )


def steps(*plans: str) -> StepFigures:
    return figures(*(frame(0.1 + 0.5 * number, plan) for number, plan in enumerate(plans)))


def test_a_phase_tells_the_plan_it_settled_on_and_when_its_first_frame_came() -> None:
    found = steps("cut", "cut", "cut", "cut", "cut", "whole", "whole", "whole", "whole", "whole", "cut", "cut")
    assert [one.plan for one in found.phases] == ["cut", "whole", "cut"]
    assert [one.in_use_after_s for one in found.phases] == [None, 0.6, 1.1]
    assert found.failures == []


def test_a_step_that_never_changes_the_plan_is_shown_and_no_failure() -> None:
    found = steps(*["cut"] * 12)
    assert found.failures == []
    assert [phase.plan for phase in found.phases][:2] == ["cut", "cut"]
    assert all(one.in_use_after_s is None for one in found.phases)


def test_frames_that_are_late_lost_or_degraded_are_told_apart() -> None:
    found = figures(
        frame(0.1, "cut"),
        frame(0.2, "cut", 151),
        frame(0.3, "cut", degraded=True),
        frame(0.4, "cut", error="gone", error_kind="LinkDownError"),
        frame(3.5, "whole"),
        expected_frames=6,
    )
    first = found.phases[0]
    assert (first.frames, first.in_deadline, first.degraded, first.lost) == (4, 2, 1, 1)
    # One with an error, one without a record.
    assert found.lost == 2
    assert found.failures == ["2 of 6 frames of the bandwidth step were not answered"]


def planned_deployment() -> Deployment:
    """About what the planner finds for the network and setting of the demo."""
    sizes = {"raw": 125_000, "int8": 31_000, "planned": 13_000, "all-device": 0}
    return Deployment(
        model=ModelRef("net@000000000000"),
        plans=tuple(
            Plan(
                id=name,
                device_until=1 if size else 2,
                edge_until=2,
                codecs=LinkCodecs(),
                predicted=PlanPrediction(
                    device_ms=50 if size else 114,
                    edge_ms=25 if size else 0,
                    cloud_ms=0,
                    device_edge_bytes=size,
                    edge_cloud_bytes=0,
                    answer_bytes=4000 if size else 0,
                    agreement=0.984 if name == "planned" else 1.0,
                ),
            )
            for name, size in sizes.items()
        ),
    )


def test_the_steps_device_is_predicted_as_slow_as_it_is_emulated() -> None:
    slowed = step_deployment(planned_deployment())
    assert [plan.id for plan in slowed.plans] == list(PLANS)
    whole = slowed.plan("all-device").predicted
    assert whole
    assert whole.device_ms == pytest.approx(114 * STEP_DEVICE_SLOWDOWN / DEVICE_SLOWDOWN)


def test_the_step_is_such_that_another_plan_is_best_on_the_slow_link() -> None:
    deployment = step_deployment(planned_deployment())
    fast, slow = expected_plans(deployment, step_deadline_ms(deployment))
    assert fast != slow


def test_who_knows_a_hopeless_link_computes_everything_at_home() -> None:
    hopeless = LinkEstimate(0.01, 500, age_s=0)
    assert best_plan(planned_deployment().plans, hopeless, hopeless, 400) == "all-device"


def test_a_line_of_the_chart_names_emulation_link_plan_and_latency() -> None:
    line = strip_line(2.5, 1, [frame(2.0, "cut"), frame(2.2, "whole", 171)])
    assert line.startswith(" 2.5 s  emulated link   1 Mbit/s  whole ")
    assert line.endswith("█ 171 ms")
    assert "no answer" in strip_line(3, 1, [])
    assert "lost: DeadlineError" in strip_line(3, 1, [frame(2, "cut", error="late", error_kind="DeadlineError")])


def test_a_line_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    assert whole_records(file) == []
    whole = frame(0, "cut").model_dump_json()
    file.write_text(f"{whole}\n{whole[:40]}")
    assert len(whole_records(file)) == 1


def cascade() -> Cascade:
    certificate = ExitCertificate(
        threshold=0.7, alpha=0.1, delta=0.1, frames=120, exits=110, wrong=3, bound=0.06, agreed_with="large model"
    )
    rule = ExitRule(score="max-softmax", outputs="logits", temperature=1.0, threshold=0.7)
    return Cascade(
        name="demo",
        stages=(
            CascadeStage(tier=Tier.DEVICE, model=SMALL, plan="whole", exit=rule, certificate=certificate),
            CascadeStage(tier=Tier.CLOUD, model=LARGE, plan="whole"),
        ),
        escalate="png",
        audit=AuditTerms(share=0.25),
    )


def visit(tier: Tier) -> VisitRecord:
    times = ("queue_ms", "decode_ms", "compute_ms", "encode_ms", "total_ms", "beyond_ms")
    return VisitRecord.model_validate(
        {
            "tier": tier,
            "node": "n",
            "from_boundary": 0,
            "to_boundary": 1,
            "received_bytes": 0,
            "batch_size": 1,
            **dict.fromkeys(times, 1.0),
        }
    )


STATUS = {
    "stage": 0,
    "judged": 3,
    "exited": 1,
    "window_audited": 1,
    "window_wrong": 1,
    "tightened": 0,
    "alpha": 0.1,
    "threshold": 0.7,
    "certified_threshold": 0.7,
}


def test_a_cascades_figures_say_who_answered_who_agreed_and_what_never_went_far() -> None:
    near, far = (visit(Tier.DEVICE),), (visit(Tier.DEVICE), visit(Tier.EDGE), visit(Tier.CLOUD))
    records = [
        frame(0, "whole", 50, source="a.png", stage=0, label_index=1, visits=near),
        frame(1, "whole", 200, source="b.png", stage=1, label_index=2, visits=far),
        frame(2, "whole", 60, source="c.png", stage=0, label_index=9, visits=near),
        frame(3, "whole", 60, source="d.png", error="gone", error_kind="LinkDownError"),
    ]
    found = cascade_figures(
        cascade(),
        records,
        {"a.png": 1, "b.png": 2, "c.png": 3, "d.png": 4},
        [STATUS],
        setting="emulated",
        calibrated_with="crops",
        expected_frames=4,
    )
    assert [(stage.model, stage.answered, stage.p50_ms) for stage in found.stages] == [
        ("small", 2, 55.0),
        ("large", 1, 200.0),
    ]
    assert found.agreement == pytest.approx(2 / 3, abs=1e-3)
    assert found.never_large == pytest.approx(2 / 3, abs=1e-3)
    (audit,) = found.audits
    assert (audit.tier, audit.audited, audit.wrong, audit.threshold, audit.bound) == ("device", 1, 1, 0.7, 0.06)
    assert found.failures == ["1 of 4 frames of the cascade were not answered"]


def test_what_a_device_says_of_its_exits_is_found_among_its_other_words(tmp_path: Path) -> None:
    log = tmp_path / "device.log"
    log.write_text('a warning\n{"event": "device done"}\n[1]\n{"event": "exits", "stage": 0}\n')
    assert device_exits(log) == [{"event": "exits", "stage": 0}]


def test_what_is_sent_through_the_cascade_are_no_centres_which_calibration_has_seen(tmp_path: Path) -> None:
    paths = write_sent_crops(tmp_path / "crops")
    assert sorted(paths) == sorted((tmp_path / "crops").iterdir())
    assert paths[0].name.startswith("0007-")
