"""The cascade bench's divisions, outcomes and counts, on frames written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet_cloud.bench.cascade_frames import JudgedFrames, Outcome, outcome_of, random_draws, random_splits
from tercet_cloud.bench.cascade_trials import (
    Promise,
    breach_rate,
    run_trials,
    smallest_threshold,
    synthetic_breaches,
    synthetics,
)

FOUR = JudgedFrames(
    labels=np.array([0, 1, 2, 3]),
    answers=np.array([[0, 1, 0, 0], [0, 0, 2, 0], [0, 1, 2, 0]]),
    scores={"margin": np.array([[0.9, 0.8, 0.2, 0.1], [0.9, 0.1, 0.8, 0.2]])},
)


def made_frames(count: int, seed: int) -> JudgedFrames:
    """One stage, sure of what it gets right: wrong with chance (1 - score)² / 2."""
    random = np.random.default_rng(seed)
    scores = random.uniform(size=(1, count))
    wrong = random.uniform(size=count) < (1 - scores[0]) ** 2 / 2
    zeros = np.zeros(count, np.int64)
    return JudgedFrames(zeros, np.stack([wrong.astype(np.int64), zeros]), {"margin": scores})


def outcome(*stages: tuple[int, int]) -> Outcome:
    """Of (exits, wrong) of each stage."""
    return Outcome((0,), tuple(exits for exits, _ in stages), tuple(wrong for _, wrong in stages), 0, 0)


def test_an_outcome_counts_exits_mistakes_and_right_answers() -> None:
    found = outcome_of(FOUR, "margin", "agreement", [0.8, 0.2])
    assert found == Outcome(reached=(4, 2, 0), exits=(2, 2), wrong=(0, 0), right=3, large_right=3)
    assert (found.never_large, found.relative_accuracy, found.risk) == (1, 1, 0)
    by_label = outcome_of(FOUR, "margin", "labels", [0.1, float("inf")])
    assert (by_label.exits, by_label.wrong, by_label.risk) == ((4, 0), (2, 0), 0.5)
    assert by_label.stage_risks == (0.5, 0)


def test_a_frame_costs_every_model_that_it_reaches() -> None:
    found = outcome_of(FOUR, "margin", "agreement", [0.8, 0.5])
    assert found.reached == (4, 2, 1)
    assert found.mean_cost((1, 10, 100)) == (4 * 1 + 2 * 10 + 1 * 100) / 4


def test_the_cascade_without_its_second_stage_keeps_the_large_model() -> None:
    short = FOUR.first(1)
    assert short.answers.tolist() == [[0, 1, 0, 0], [0, 1, 2, 0]]
    assert short.scores["margin"].shape == (1, 4)
    assert short.wrong("agreement").tolist() == [[False, False, True, False]]


@given(st.integers(2, 200), st.data())
def test_splits_share_nothing_and_leave_nothing_out(count: int, data: st.DataObject) -> None:
    calibration = data.draw(st.integers(1, count - 1))
    divisions = list(random_splits(count, calibration, 3, seed=1))
    for chosen, others in divisions:
        assert len(chosen) == calibration
        assert sorted([*chosen, *others]) == list(range(count))


def test_draws_repeat_frames_and_are_judged_by_all() -> None:
    ((drawn, judged),) = random_draws(50, 500, 1, seed=1)
    assert judged is None
    assert len(drawn) == 500
    assert set(drawn.tolist()) <= set(range(50))
    assert len(set(drawn.tolist())) < 500


@pytest.mark.parametrize(
    ("scores", "wrong", "alpha", "threshold"),
    [
        ([0.9, 0.8, 0.7, 0.6], [0, 0, 1, 0], 0.25, 0.6),
        ([0.9, 0.8, 0.7, 0.6], [0, 0, 1, 1], 0.25, 0.8),
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 0, 1], 0.34, 0.7),
        ([0.9, 0.8, 0.8, 0.8], [0, 0, 1, 1], 0.1, 0.9),
        ([0.9, 0.8], [1, 1], 0.5, np.inf),
        ([], [], 0.5, np.inf),
    ],
)
def test_the_smallest_threshold_keeps_the_samples_own_risk(
    scores: Sequence[float], wrong: Sequence[int], alpha: float, threshold: float
) -> None:
    assert smallest_threshold(np.array(scores), np.array(wrong, bool), alpha) == threshold


def test_a_promise_is_broken_by_any_stage_and_proved_only_by_many_frames() -> None:
    rate = breach_rate([outcome((100, 5), (10, 0)), outcome((100, 5), (10, 1)), outcome((900, 90), (0, 0))], 0.05)
    assert (rate.trials, rate.broken, rate.proved) == (3, 2, 1)
    assert rate.low < rate.rate == 2 / 3 < rate.high


def test_certified_thresholds_keep_the_promise_where_the_samples_own_break_it() -> None:
    frames = made_frames(5000, seed=1)
    promise = Promise(0.05, 0.05)
    trials = run_trials(frames, random_draws(len(frames), 600, 60, seed=2), "margin", "agreement", promise)
    certified = breach_rate([trial.certified for trial in trials], 0.05)
    uncertified = breach_rate([trial.uncertified for trial in trials], 0.05)
    assert certified.low <= 0.05
    assert uncertified.rate > 0.25
    assert np.mean([trial.certified.never_large for trial in trials]) > 0.2


def test_held_out_frames_are_judged_that_no_calibration_saw() -> None:
    frames = made_frames(900, seed=3)
    (trial,) = run_trials(frames, random_splits(900, 600, 1, seed=1), "margin", "agreement", Promise(0.05, 0.05))
    assert trial.certified.frames == trial.uncertified.frames == 300


def test_the_known_risks_are_those_of_the_distributions() -> None:
    random = np.random.default_rng(4)
    for made in synthetics(0.05):
        scores = random.uniform(size=400_000)
        wrong = random.uniform(size=400_000) < made.wrong_chance(scores)
        for threshold in (0.0, 0.5, 0.9):
            assert wrong[scores >= threshold].mean() == pytest.approx(made.risk(threshold), abs=0.005)


def test_of_the_worst_case_distribution_certificates_seldom_and_samples_nearly_always_break() -> None:
    worst = synthetics(0.05)[1]
    certified, uncertified = synthetic_breaches(worst, 600, 150, Promise(0.05, 0.05), seed=5)
    assert certified.low <= 0.05
    assert uncertified.rate > 0.8
