"""A stage's exit while it serves: what it judges, and what it says of itself."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from tercet.cascade.document import AuditTerms, CascadeStage, ExitCertificate
from tercet.cascade.exit_rule import ExitRule
from tercet.cascade.live_exit import LiveExit
from tercet.codecs.codec import Float32Array
from tercet.errors import DeadlineError, TensorContractError
from tercet.tiers import Tier

CERTIFICATE = ExitCertificate(
    threshold=0.8, alpha=0.1, delta=0.05, frames=300, exits=200, wrong=4, bound=0.05, agreed_with="large model"
)


def live(share: float = 0.0, certificate: ExitCertificate | None = CERTIFICATE) -> LiveExit:
    stage = CascadeStage(
        tier=Tier.DEVICE,
        model="small@0123456789ab",
        plan="whole",
        exit=ExitRule(threshold=0.8),
        certificate=certificate,
    )
    return LiveExit("photos@ab", 0, stage, "scores", AuditTerms(share=share, window=50), "cam-1")


def scores(sureness: float) -> dict[str, Float32Array]:
    """Logits whose softmax has its largest value `sureness`, for class 1."""
    return {"scores": np.log(np.array([[1 - sureness, sureness]], np.float32))}


def test_it_judges_by_the_certified_threshold() -> None:
    exit_ = live()
    sure, unsure = exit_.judge(scores(0.9)), exit_.judge(scores(0.7))
    assert (sure.exits, sure.label, sure.audited) == (True, 1, False)
    assert sure.score == pytest.approx(0.9)
    assert not unsure.exits
    assert (exit_.judged, exit_.exited) == (2, 1)


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"other": np.zeros((1, 2), np.float32)},
        {"scores": np.zeros((2, 2), np.float32)},
        {"scores": np.zeros((2,), np.float32)},
        {"scores": np.full((1, 2), np.nan, np.float32)},
    ],
)
def test_outputs_that_are_not_one_frames_class_scores_are_refused(outputs: dict[str, Float32Array]) -> None:
    exit_ = live()
    with pytest.raises(TensorContractError):
        exit_.judge(outputs)
    assert exit_.judged == 0


def test_the_operator_sees_when_the_threshold_tightens_and_relaxes(caplog: pytest.LogCaptureFixture) -> None:
    exit_ = live(share=1.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            if not exit_.status()["tightened"]:
                exit_.learn(exit_.judge(scores(0.9)), label=0)
        for _ in range(200):
            if not exit_.status()["relaxed"]:
                exit_.learn(exit_.judge(scores(0.9)), label=1)
    first, second = caplog.records
    assert (first.message, second.message) == ("exit threshold tightened", "exit threshold relaxed")
    assert first.__dict__["threshold"] is second.__dict__["threshold_was"] is None
    assert first.__dict__["wrong"] == first.__dict__["audited"] == 7
    assert second.__dict__["threshold"] == 0.8


def test_only_audited_frames_teach_the_audit() -> None:
    exit_ = live(share=0.0)
    for _ in range(50):
        exit_.learn(exit_.judge(scores(0.7)), label=0)
    assert exit_.status()["window_audited"] == 0
    exit_ = live(share=1.0)
    exit_.learn(exit_.judge(scores(0.9)), label=0)
    assert (exit_.status()["window_audited"], exit_.status()["window_wrong"]) == (1, 1)


def test_a_closed_exit_audits_frames_that_it_is_no_longer_sure_of() -> None:
    exit_ = live(share=1.0)
    before = exit_.judge(scores(0.9))
    assert (before.sure, before.exits, before.audited) == (True, False, True)
    for _ in range(20):
        exit_.learn(exit_.judge(scores(0.9)), label=0)
    after = exit_.judge(scores(0.9))
    assert (after.sure, after.exits, after.audited) == (False, False, True)


def test_its_status_is_json_even_when_the_exit_is_closed() -> None:
    exit_ = live(share=1.0)
    for _ in range(20):
        exit_.learn(exit_.judge(scores(0.9)), label=0)
    exit_.learn(exit_.judge(scores(0.9)), None)
    status = exit_.status()
    assert json.loads(json.dumps(status, allow_nan=False)) == status
    assert status["threshold"] is None
    assert status["certified_threshold"] == 0.8
    assert status["unanswered"] == 1
    assert status["audited_share"] == 1


def test_an_exit_without_certificate_is_held_to_the_audits_risk() -> None:
    assert live(certificate=None).status()["alpha"] == 0.05
    assert live().status()["alpha"] == 0.1


def test_a_degraded_answer_says_how_sure_it_is() -> None:
    verdict = live().judge(scores(0.7))
    assert verdict.why_degraded(DeadlineError("nobody came")) == (
        "DeadlineError: nobody came (own answer, score 0.7 of 0.8)"
    )
