"""What a device keeps of a frame, from what peers say of it."""

from __future__ import annotations

from math import inf, nan

import pytest

from tercet.frame_record import FrameRecord, VisitRecord
from tercet.v1 import frame_pb2 as pb


def visit(score: float, threshold: float) -> VisitRecord:
    wire = pb.Visit(
        tier=pb.TIER_EDGE,
        node="edge-1",
        verdict=pb.ExitVerdict(stage=1, score=score, threshold=threshold, audited=True),
    )
    record = VisitRecord.from_wire(wire)
    assert record
    return record


def test_a_cascades_verdict_is_kept_a_closed_exit_included() -> None:
    for threshold, kept in ((0.75, 0.75), (inf, None)):
        record = FrameRecord(
            node="cam-1",
            sequence=1,
            source="a.png",
            model="mid@ab",
            plan="whole",
            cascade="photos@cd",
            stage=1,
            latency_ms=1,
            visits=(visit(0.5, threshold),),
        )
        again = FrameRecord.model_validate_json(record.model_dump_json())
        assert again == record
        verdict = again.visits[0].verdict
        assert verdict
        assert (verdict.stage, verdict.score, verdict.threshold) == (1, 0.5, kept)
        assert verdict.audited
        assert not verdict.exited


@pytest.mark.parametrize(("score", "threshold"), [(nan, 0.5), (inf, 0.5), (0.5, nan)])
def test_a_verdict_without_sense_is_left_out(score: float, threshold: float) -> None:
    assert visit(score, threshold).verdict is None


def test_a_visit_without_verdict_has_none() -> None:
    record = VisitRecord.from_wire(pb.Visit(tier=pb.TIER_CLOUD))
    assert record
    assert record.verdict is None
