"""The live audit of exits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from tercet.cascade.audit import ExitAudit, at_least, at_most
from tercet.errors import SpecError

ALPHA = 0.05


def serve(audit: ExitAudit, random: np.random.Generator, frames: int, risk: float) -> tuple[int, int]:
    """Frames with scores 0…1 that are wrong with chance `risk` whatever the score; (exits, wrong exits)."""
    exits = wrong_exits = 0
    for _ in range(frames):
        score, wrong = float(random.uniform()), bool(random.uniform() < risk)
        leaves, _ = audit.decide(score)
        if leaves:
            exits += 1
            wrong_exits += wrong
        else:
            audit.learn(score, wrong)
    return exits, wrong_exits


def test_without_drift_the_threshold_stays() -> None:
    audit = ExitAudit(0.4, ALPHA, seed=1)
    serve(audit, np.random.default_rng(1), 4000, risk=0.02)
    assert audit.threshold == 0.4
    assert audit.report().tightened == 0


def test_after_drift_exits_end_within_stated_frames_and_return_when_it_is_over() -> None:
    random = np.random.default_rng(2)
    audit = ExitAudit(0.4, ALPHA, seed=2)
    serve(audit, random, 1000, risk=0.01)
    serve(audit, random, 2000, risk=0.5)
    assert audit.threshold > 0.4
    exits, wrong = serve(audit, random, 1000, risk=0.5)
    assert wrong <= ALPHA * 1000
    assert exits < 200
    serve(audit, random, 3000, risk=0.0)
    assert audit.threshold == 0.4
    report = audit.report()
    assert report.tightened >= 1
    assert report.relaxed >= 1


def test_drift_of_unsure_frames_only_keeps_the_sure_exits() -> None:
    random = np.random.default_rng(3)
    audit = ExitAudit(0.2, ALPHA, share=0.3, seed=3)
    for _ in range(3000):
        score = float(random.uniform())
        wrong = score < 0.6 and bool(random.uniform() < 0.6)
        if not audit.decide(score)[0]:
            audit.learn(score, wrong)
    assert 0.5 < audit.threshold < 0.95


def test_the_live_threshold_is_never_below_the_certified_one() -> None:
    random = np.random.default_rng(4)
    audit = ExitAudit(0.5, ALPHA, seed=4)
    for risk in (0.5, 0.0, 0.5, 0.0):
        serve(audit, random, 2000, risk)
        assert audit.threshold >= 0.5


def test_the_stated_share_of_confident_frames_is_audited() -> None:
    audit = ExitAudit(0.0, ALPHA, share=0.1, seed=5)
    decided = [audit.decide(0.9) for _ in range(5000)]
    assert 0.08 < sum(audited for _, audited in decided) / 5000 < 0.12
    assert all(exits != audited for exits, audited in decided)


def test_nothing_exits_where_nothing_was_certified_or_the_score_is_none() -> None:
    assert ExitAudit(math.inf, ALPHA).decide(1e9) == (False, False)
    assert ExitAudit(0.5, ALPHA).decide(math.nan) == (False, False)


@pytest.mark.parametrize(("count", "trials", "rate"), [(0, 10, 0.05), (3, 40, 0.1), (40, 40, 0.9), (17, 400, 0.05)])
def test_tails_equal_those_of_the_library(count: int, trials: int, rate: float) -> None:
    assert at_most(count, trials, rate) == pytest.approx(binom.cdf(count, trials, rate))
    assert at_least(count, trials, rate) == pytest.approx(binom.sf(count - 1, trials, rate), abs=1e-12)


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"share": 2.0}, {"window": 1}, {"certified": math.nan}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        ExitAudit(**({"certified": 0.5, "alpha": ALPHA} | wrong))  # type: ignore[arg-type]
