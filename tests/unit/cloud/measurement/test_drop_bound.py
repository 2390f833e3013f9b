"""Upper bounds of a loss hold as often as they say, and the frames that they need are what they need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tercet_cloud.measurement.drop_bound import counted_bound, explain_frames, frames_to_prove, mean_bound

Draw = Callable[[np.random.Generator, int], np.ndarray]
DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "rare and total": (lambda random, n: (random.random(n) < 0.03).astype(float), 0.03),
    "small and varied": (lambda random, n: random.beta(1, 49, n), 0.02),
    "uniform": (lambda random, n: random.random(n), 0.5),
    "mostly nothing, sometimes half": (lambda random, n: 0.5 * (random.random(n) < 0.1), 0.05),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_mean_is_above_its_bound_in_at_most_a_twentieth_of_all_cases(name: str) -> None:
    draw, mean = DISTRIBUTIONS[name]
    random = np.random.default_rng(3)
    missed = sum(mean_bound(draw(random, 60)) < mean for _ in range(200))
    # 200 · 0.05 = 10, and three standard deviations of chance.
    assert missed <= 10 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_without_a_loss_a_mean_is_bounded_nearly_as_well_as_a_count() -> None:
    assert counted_bound(0, 120) == pytest.approx(1 - 0.05 ** (1 / 120), abs=1e-9)
    assert counted_bound(0, 120) < mean_bound(np.zeros(120)) < 0.03


@example([0.9999999999999999])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_bound_is_never_below_the_mean_nor_above_one(losses: list[float]) -> None:
    assert np.mean(losses) - 1e-9 <= mean_bound(losses) <= 1


@given(st.lists(st.floats(0, 0.5), min_size=2, max_size=20), st.integers(0, 19))
def test_a_larger_loss_never_lowers_the_bound(losses: list[float], place: int) -> None:
    worse = list(losses)
    worse[place % len(losses)] += 0.25
    assert mean_bound(worse) >= mean_bound(losses) - 1e-9


def test_no_frames_show_nothing() -> None:
    assert mean_bound([]) == 1
    assert counted_bound(0, 0) == 1


def test_losses_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_bound([0.5, 1.5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_bound([float("nan")])


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("drop", [0.5, 0.1, 0.05, 0.02])
def test_the_frames_it_takes_are_enough_and_one_fewer_is_not(drop: float, counted: bool) -> None:
    needed = frames_to_prove(drop, counted=counted)
    bound = (lambda n: counted_bound(0, n)) if counted else (lambda n: mean_bound(np.zeros(n)))
    assert bound(needed) <= drop < bound(needed - 1)


def test_what_no_frames_can_show_is_said() -> None:
    assert explain_frames(0.05, 59, counted=True) == ""
    assert "it takes 59" in explain_frames(0.05, 58, counted=True)
    assert "lossless" in explain_frames(0, 10**6, counted=True)
    with pytest.raises(ValueError, match="cannot be shown"):
        frames_to_prove(0, counted=True)
