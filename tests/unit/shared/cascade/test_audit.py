"""The live audit of exits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from tercet.cascade.audit import ExitAudit
from tercet.errors import SpecError

ALPHA = 0.05


@dataclass
class Served:
    exits: int = 0
    wrong: int = 0
    audited: int = 0


def serve(audit: ExitAudit, random: np.random.Generator, frames: int, risk: float, sure: float = 0.0) -> Served:
    """Frames with scores 0…1 that are wrong with chance `risk`, but never at scores of `sure` or more, if given."""
    served = Served()
    for _ in range(frames):
        score = float(random.uniform())
        wrong = (not sure or score < sure) and bool(random.uniform() < risk)
        leaves, audited = audit.decide(score)
        served.exits += leaves
        served.wrong += leaves and wrong
        served.audited += audited
        if audited:
            audit.learn(score, wrong)
    return served


def test_without_drift_the_threshold_stays() -> None:
    audit = ExitAudit(0.4, ALPHA, seed=1)
    serve(audit, np.random.default_rng(1), 40_000, risk=0.04)
    assert audit.threshold == 0.4
    assert audit.report().tightened == 0


def test_a_risk_of_exactly_alpha_closes_exits_no_more_often_than_promised() -> None:
    random = np.random.default_rng(8)
    audit = ExitAudit(0.0, ALPHA, share=1.0, seed=8)
    for _ in range(40_000):
        audit.learn(0.5, bool(random.uniform() < ALPHA))
    # Four are promised on average, at the most.
    assert audit.report().tightened <= 8


@pytest.mark.parametrize(("risk", "frames"), [(0.9, 300), (0.5, 500), (0.3, 900)])
def test_after_drift_exits_are_closed_within_stated_frames(risk: float, frames: int) -> None:
    late = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        audit = ExitAudit(0.4, ALPHA, seed=seed)
        serve(audit, random, 200, risk=0.02)
        serve(audit, random, frames, risk)
        late += audit.report().tightened == 0
    assert late <= 2


def test_while_the_drift_lasts_hardly_a_wrong_frame_leaves_and_exits_return_when_it_is_over() -> None:
    random = np.random.default_rng(2)
    audit = ExitAudit(0.4, ALPHA, seed=2)
    serve(audit, random, 1000, risk=0.01)
    serve(audit, random, 1000, risk=0.5)
    assert audit.threshold == math.inf
    assert serve(audit, random, 3000, risk=0.5).exits == 0
    serve(audit, random, 1000, risk=0.0)
    report = audit.report()
    assert (audit.threshold, report.tightened) == (0.4, 1)
    assert report.share == pytest.approx(0.05, abs=0.01)
    assert report.relaxed >= 1


def test_drift_of_unsure_frames_only_keeps_the_sure_exits() -> None:
    random = np.random.default_rng(3)
    audit = ExitAudit(0.2, ALPHA, seed=3)
    serve(audit, random, 5000, risk=0.6, sure=0.6)
    assert 0.5 < audit.threshold < 0.95
    served = serve(audit, random, 2000, risk=0.6, sure=0.6)
    assert served.exits > 0
    assert served.wrong <= ALPHA * served.exits


def test_a_return_rests_on_exits_as_they_come_not_on_the_frames_below_alone() -> None:
    # Frames just above the certified threshold are often wrong: alone they would never pass.
    random = np.random.default_rng(6)
    audit = ExitAudit(0.4, ALPHA, seed=6)
    serve(audit, random, 2000, risk=0.9)
    serve(audit, random, 8000, risk=0.25, sure=0.46)
    assert audit.threshold == 0.4


def test_the_live_threshold_is_never_below_the_certified_one() -> None:
    random = np.random.default_rng(4)
    audit = ExitAudit(0.5, ALPHA, seed=4)
    for risk in (0.5, 0.0, 0.5, 0.0):
        serve(audit, random, 2000, risk)
        assert audit.threshold >= 0.5
        assert audit.decide(0.49) == (False, False)


def test_the_stated_share_of_confident_frames_is_audited() -> None:
    audit = ExitAudit(0.0, ALPHA, share=0.1, seed=5)
    decided = [audit.decide(0.9) for _ in range(5000)]
    assert 0.08 < sum(audited for _, audited in decided) / 5000 < 0.12
    assert all(exits != audited for exits, audited in decided)


def test_more_is_audited_after_wrong_verdicts_and_all_while_exits_are_closed() -> None:
    audit = ExitAudit(0.5, ALPHA, seed=7)
    assert audit.share == 0.05
    audit.learn(0.9, wrong=True)
    assert audit.share == 0.5
    for _ in range(60):
        audit.learn(0.9, wrong=False)
    assert audit.share == 0.05
    for _ in range(9):
        audit.learn(0.9, wrong=True)
    assert (audit.threshold, audit.share) == (math.inf, 1.0)
    assert audit.decide(0.9) == (False, True)


def test_when_few_frames_are_confident_that_were_many_more_of_the_few_are_audited() -> None:
    audit = ExitAudit(0.2, ALPHA, seed=9)
    serve(audit, np.random.default_rng(9), 2000, risk=0.0)
    assert audit.share < 0.06
    for _ in range(600):
        audit.decide(0.1)
    assert audit.share > 0.3


def test_a_share_of_none_audits_nothing_ever() -> None:
    audit = ExitAudit(0.5, ALPHA, share=0, seed=7)
    audit.learn(0.9, wrong=True)
    assert [audit.decide(0.9) for _ in range(100)] == [(True, False)] * 100


def test_nothing_exits_where_nothing_was_certified_or_the_score_is_none() -> None:
    assert ExitAudit(math.inf, ALPHA).decide(1e9) == (False, False)
    assert ExitAudit(0.5, ALPHA).decide(math.nan) == (False, False)


def test_the_report_is_about_the_last_window() -> None:
    audit = ExitAudit(0.5, ALPHA, window=10)
    assert audit.report().observed_risk is None
    for wrong in [True] + [False] * 8:
        audit.learn(0.6, wrong)
    assert (audit.report().audited, audit.report().wrong) == (9, 1)
    for _ in range(3):
        audit.learn(0.6, wrong=False)
    assert audit.report().observed_risk == 0


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"share": 2.0}, {"window": 0}, {"certified": math.nan}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        ExitAudit(**({"certified": 0.5, "alpha": ALPHA} | wrong))  # type: ignore[arg-type]
