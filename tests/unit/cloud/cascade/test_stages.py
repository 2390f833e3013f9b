"""Certificates of several stages together."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.errors import SpecError
from tercet_cloud.cascade.stages import certify_stages, deal_frames, require_frames, stages_need, stages_reached

ALPHA = DELTA = 0.1


def frames(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two stages whose scores and mistakes go together, as those of networks do: hard frames are hard for both."""
    hard = random.uniform(0, 1, count)
    scores = np.clip(1 - hard + random.normal(0, [[0.2], [0.1]], (2, count)), 0, 1)
    wrong = random.uniform(0, 1, count) < np.array([[0.5], [0.35]]) * hard**2
    return scores, wrong


def test_both_promises_hold_together_as_often_as_promised() -> None:
    random = np.random.default_rng(1)
    everything, mistakes = frames(random, 60_000)
    broken = exits = 0
    for trial in range(200):
        found = certify_stages(*frames(random, 1200), alpha=ALPHA, delta=DELTA, seed=trial)
        ends = stages_reached(everything, [certificate.threshold for certificate in found])
        risks = [mistakes[stage][ends == stage].mean() if (ends == stage).any() else 0 for stage in (0, 1)]
        broken += max(risks) > ALPHA
        exits += (ends < 2).mean()
    # Three standard deviations above delta would be a broken promise.
    assert broken / 200 <= DELTA + 3 * (DELTA * (1 - DELTA) / 200) ** 0.5
    assert exits / 200 > 0.3


def test_each_stage_has_its_part_of_the_frames_and_of_delta() -> None:
    scores = np.tile(np.linspace(0, 1, 2000), (2, 1))
    first, second = certify_stages(scores, np.array([scores[0] < 0.5, scores[0] < 0.01]), alpha=ALPHA, delta=DELTA)
    assert (first.delta, second.delta) == (DELTA / 2, DELTA / 2)
    assert first.frames == 750
    # Of the second part only those that the first stage lets through.
    assert 300 < second.frames < 450
    assert second.threshold < first.threshold


def test_a_stage_that_too_few_frames_reach_stays_closed() -> None:
    scores = np.tile(np.linspace(0, 1, 400), (2, 1))
    first, second = certify_stages(scores, np.zeros((2, 400), bool), alpha=ALPHA, delta=DELTA)
    assert first.exit_share > 0.95
    assert second.threshold == np.inf


def test_too_few_frames_for_the_first_stage_are_refused_with_the_number_needed() -> None:
    needed = stages_need(ALPHA, DELTA, 2)
    scores = np.random.default_rng(0).uniform(size=(2, needed))
    certify_stages(scores, np.zeros(scores.shape, bool), alpha=ALPHA, delta=DELTA)
    few = scores[:, : needed // 2]
    with pytest.raises(SpecError, match=f"2 exits .* at least {needed} are needed"):
        certify_stages(few, np.zeros(few.shape, bool), alpha=ALPHA, delta=DELTA)


def test_a_frame_ends_at_the_first_stage_that_is_sure_of_it() -> None:
    scores = np.array([[0.9, 0.1, 0.1, 0.5], [0.9, 0.9, 0.1, 0.1]])
    assert stages_reached(scores, [0.5, 0.5]).tolist() == [0, 1, 2, 0]
    assert stages_reached(scores, [np.inf, np.inf]).tolist() == [2, 2, 2, 2]


def test_every_frame_has_one_part() -> None:
    parts = deal_frames(1003, 2, seed=4)
    dealt = np.concatenate([parts.pilot, *parts.tests])
    assert sorted(dealt.tolist()) == list(range(1003))
    assert len(parts.pilot) == 250
    assert abs(len(parts.tests[0]) - len(parts.tests[1])) <= 1
    assert not np.array_equal(parts.pilot, deal_frames(1003, 2, seed=5).pilot)


@pytest.mark.parametrize(("alpha", "delta"), [(0, 0.05), (1, 0.05), (0.05, 0), (0.05, 1), (float("nan"), 0.05)])
def test_terms_that_promise_nothing_are_refused(alpha: float, delta: float) -> None:
    with pytest.raises(SpecError, match="between 0 and 1"):
        require_frames(10_000, alpha=alpha, delta=delta, stages=1)
