"""What the frames of the demo's cascade amount to: pure arithmetic over frame records and reports of audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tercet.cascade.document import Cascade, CascadeStage
from tercet.frame_record import FrameRecord
from tercet.tiers import Tier


@dataclass(frozen=True)
class StageFigures:
    """One stage: how many frames it answered, and their median latency in ms (None without frames)."""

    tier: str
    model: str
    answered: int
    share: float
    p50_ms: float | None


@dataclass(frozen=True)
class AuditFigures:
    """One exit's audit after the last frame. Thresholds are None where the exit is closed.

    `wrong` of `audited` frames, which it was sure of and which were escalated anyway, got another answer from the
    last stage; `bound` is what calibration certified for the share of wrong exits, at most `alpha`.
    """

    tier: str
    model: str
    judged: int
    exited: int
    audited: int
    wrong: int
    threshold: float | None
    certified_threshold: float | None
    alpha: float
    bound: float
    tightened: int


@dataclass(frozen=True)
class CascadeFigures:
    """The whole cascade. `agreement` is with the large model on the same photos, over all answered frames;
    `never_large` is the share of frames that the large model did not see."""

    setting: str
    calibrated_with: str
    escalated_by: str
    audit_share: float
    frames: int
    answered: int
    degraded: int
    agreement: float
    never_large: float
    stages: list[StageFigures]
    audits: list[AuditFigures]
    failures: list[str]


def cascade_figures(
    cascade: Cascade,
    records: Sequence[FrameRecord],
    large: Mapping[str, int],
    exits: Sequence[Mapping[str, Any]],
    *,
    setting: str,
    calibrated_with: str,
    expected_frames: int,
) -> CascadeFigures:
    """Fold the records of one device.

    Args:
        large: the large model's own label index by photo path.
        exits: what the exits' audits say of themselves, as `LiveExit.status` gives it.
    """
    answered = [record for record in records if record.error is None]
    agreed = [record.label_index == large[record.source] for record in answered]
    far = cascade.stages[-1].tier
    lost = expected_frames - len(answered)
    return CascadeFigures(
        setting=setting,
        calibrated_with=calibrated_with,
        escalated_by=cascade.escalate,
        audit_share=cascade.audit.share,
        frames=expected_frames,
        answered=len(answered),
        degraded=sum(record.degraded for record in answered),
        agreement=round(float(np.mean(agreed)), 4) if agreed else float("nan"),
        never_large=_share(sum(record.visit(far) is None for record in answered), len(answered)),
        stages=[_stage(index, stage, answered) for index, stage in enumerate(cascade.stages)],
        audits=[_audit(cascade, status) for status in exits],
        failures=[f"{lost} of {expected_frames} frames of the cascade were not answered"] if lost else [],
    )


def _stage(index: int, stage: CascadeStage, answered: Sequence[FrameRecord]) -> StageFigures:
    own = [record.latency_ms for record in answered if record.stage == index]
    p50_ms = round(float(np.median(own)), 1) if own else None
    return StageFigures(stage.tier.value, model_name(stage), len(own), _share(len(own), len(answered)), p50_ms)


def _audit(cascade: Cascade, status: Mapping[str, Any]) -> AuditFigures:
    stage = cascade.stages[int(status["stage"])]
    return AuditFigures(
        tier=Tier(stage.tier).value,
        model=model_name(stage),
        judged=status["judged"],
        exited=status["exited"],
        audited=status["window_audited"],
        wrong=status["window_wrong"],
        threshold=status["threshold"],
        certified_threshold=status["certified_threshold"],
        alpha=status["alpha"],
        bound=round(stage.certificate.bound, 4) if stage.certificate else 1.0,
        tightened=status["tightened"],
    )


def model_name(stage: CascadeStage) -> str:
    return stage.model.partition("@")[0]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else float("nan")
