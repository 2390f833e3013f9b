"""Exits from what stages said: temperatures, certificates that hold together, and how many frames they take."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cascade.exit_rule import ScoreKind, logits_of
from tercet.codecs.codec import Array
from tercet.errors import SpecError
from tercet_cloud.cascade.calibration import Terms, calibrate_exits, output_kind
from tercet_cloud.cascade.temperature import fit_temperature, negative_log_likelihood

CLASSES = 5


def made_up_stages(
    seed: int, frames: int, strengths: tuple[float, ...] = (4.0, 7.0, 20.0)
) -> tuple[list[Array], npt.NDArray[np.int64]]:
    """Logits of stages that know the label the better the stronger they are, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, frames)
    # What a frame itself is hard by is hard for every stage.
    ease = random.uniform(0, 1.5, (frames, 1))
    shown = np.eye(CLASSES)[labels] * ease
    return [random.normal(0, 1, (frames, CLASSES)) + strength * shown for strength in strengths], labels


@pytest.mark.parametrize("score", ["max-softmax", "margin", "energy"])
def test_exits_keep_the_risk_on_the_frames_that_tested_them(score: ScoreKind) -> None:
    outputs, _ = made_up_stages(1, 4000)
    terms = Terms(0.1, 0.05, score)
    found = calibrate_exits(outputs, None, terms)
    for each in found.exits:
        certificate = each.certificate
        assert certificate.delta == 0.025
        assert certificate.agreed_with == "large model"
        assert certificate.bound <= 0.1
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[0] > 0.05
    assert found.agreement >= 0.9


def test_certificates_hold_for_new_frames_as_often_as_they_promise() -> None:
    """Both exits of 40 cascades: the share in which any is riskier than α must not be more than δ explains."""
    alpha, delta, broken, opened = 0.1, 0.2, 0, 0
    for seed in range(40):
        outputs, _ = made_up_stages(seed, 1200)
        found = calibrate_exits(outputs, None, Terms(alpha, delta, seed=seed))
        fresh, _ = made_up_stages(10_000 + seed, 10_000)
        large = np.argmax(fresh[-1], axis=1)
        reaching = np.ones(len(large), np.bool_)
        risks = []
        for scores, each in zip(fresh, found.exits, strict=False):
            exiting = reaching & each.rule.exits(scores)
            if exiting.any():
                opened += 1
                risks.append(float((np.argmax(scores, axis=1) != large)[exiting].mean()))
            reaching &= ~exiting
        broken += any(risk > alpha for risk in risks)
    # P(more than 15 of 40 at rate 0.2) < 0.005.
    assert broken <= 15
    assert opened >= 30


def test_labels_take_the_large_models_place() -> None:
    outputs, labels = made_up_stages(2, 3000)
    found = calibrate_exits(outputs, labels, Terms(0.1, 0.05))
    assert {each.certificate.agreed_with for each in found.exits} == {"labels"}


def test_nobody_exits_at_a_stage_that_guesses() -> None:
    outputs, _ = made_up_stages(3, 2000, (0.0, 8.0))
    found = calibrate_exits(outputs, None, Terms(0.05, 0.05))
    assert found.exits[0].rule.threshold == float("inf")
    assert found.shares == (0.0, 1.0)
    assert 0 < found.exits[0].strictest < 1


def test_a_stage_that_too_few_frames_reach_says_how_many_are_needed() -> None:
    outputs, _ = made_up_stages(5, 700, (9.0, 9.0, 9.0))
    with pytest.raises(SpecError, match=r"test stage 1 reach it, \d+ must: about \d+ frames are needed"):
        calibrate_exits(outputs, None, Terms(0.1, 0.05))


def test_probabilities_are_told_from_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(9, CLASSES))
    weights = np.exp(logits)
    assert output_kind(logits) == "logits"
    assert output_kind(weights / weights.sum(axis=1, keepdims=True)) == "probabilities"
    assert output_kind(np.zeros((0, CLASSES))) == "logits"


@given(st.floats(0.3, 5.0))
def test_the_temperature_undoes_overconfidence(factor: float) -> None:
    random = np.random.default_rng(6)
    honest = random.normal(0, 2, (4000, CLASSES))
    chances = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > random.uniform(size=(4000, 1))).argmax(axis=1)
    logits = logits_of(honest * factor, "logits")
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(factor, rel=0.1)
    assert negative_log_likelihood(logits, labels, found) <= negative_log_likelihood(logits, labels, 1.0)


def test_without_frames_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, CLASSES)), np.zeros(0, np.int64)) == 1.0
