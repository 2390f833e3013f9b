"""Estimating a link from frames that crossed it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tercet.adaptive.link_estimate import LinkEstimate, LinkEstimator
from tercet.errors import SpecError

PRIOR = LinkEstimate(goodput_mbps=10, round_trip_ms=10)


class Link:
    """A link with noise, and the frames that cross it."""

    def __init__(self, mbps: float, round_trip_ms: float, seed: int = 0) -> None:
        self.mbps, self.round_trip_ms = mbps, round_trip_ms
        self.random = np.random.default_rng(seed)
        self.now_s = 0.0

    def takes_ms(self, size_bytes: float) -> float:
        exact = self.round_trip_ms + size_bytes * 8 / (self.mbps * 1000)
        return exact * (1 + 0.03 * float(self.random.standard_normal())) + 0.3 * float(self.random.exponential())

    def cross(self, estimator: LinkEstimator, sizes: list[float], count: int) -> None:
        for number in range(count):
            size = sizes[number % len(sizes)]
            link_ms = self.takes_ms(size)
            self.now_s += link_ms / 1000
            estimator.answered(size, link_ms, self.now_s)


@pytest.mark.parametrize(("mbps", "round_trip_ms"), [(1, 5), (8, 40), (50, 2), (100, 120)])
def test_speed_and_round_trip_are_found_from_frames_of_two_sizes(mbps: float, round_trip_ms: float) -> None:
    link, estimator = Link(mbps, round_trip_ms), LinkEstimator(PRIOR)
    link.cross(estimator, [2_000, 60_000], 60)
    found = estimator.estimate(link.now_s)
    for size in (2_000, 20_000, 60_000):
        # Noise of the large frames blurs what is said of small ones.
        exact_ms = round_trip_ms + size * 8 / (mbps * 1000)
        assert found.transfer_ms(size) == pytest.approx(exact_ms, rel=0.2, abs=0.03 * found.transfer_ms(60_000))


def test_times_of_the_size_seen_are_right_even_if_only_one_size_was() -> None:
    link, estimator = Link(5, 30), LinkEstimator(PRIOR)
    link.cross(estimator, [20_000], 30)
    assert estimator.estimate(link.now_s).transfer_ms(20_000) == pytest.approx(30 + 32, rel=0.15)


@pytest.mark.parametrize(("before", "after"), [(50, 2), (2, 50)])
def test_a_step_in_speed_is_believed_after_two_frames(before: float, after: float) -> None:
    link, estimator = Link(before, 10), LinkEstimator(PRIOR)
    link.cross(estimator, [10_000, 12_000], 40)
    link.mbps = after
    link.cross(estimator, [10_000, 12_000], 3)
    expected_ms = 10 + 11_000 * 8 / (after * 1000)
    assert estimator.estimate(link.now_s).transfer_ms(11_000) == pytest.approx(expected_ms, rel=0.35)


def test_one_late_frame_changes_little() -> None:
    link, estimator = Link(20, 10), LinkEstimator(PRIOR)
    link.cross(estimator, [10_000, 30_000], 60)
    before = estimator.estimate(link.now_s).transfer_ms(10_000)
    estimator.answered(10_000, 400.0, link.now_s)
    link.cross(estimator, [10_000, 30_000], 2)
    assert estimator.estimate(link.now_s).transfer_ms(10_000) == pytest.approx(before, rel=0.3)


def test_a_frame_that_is_overdue_is_news_before_its_answer() -> None:
    link, estimator = Link(50, 10), LinkEstimator(PRIOR)
    link.cross(estimator, [40_000], 30)
    estimator.waiting(40_000, 15.0, link.now_s)
    calm = estimator.estimate(link.now_s).transfer_ms(40_000)
    estimator.waiting(40_000, 120.0, link.now_s + 0.1)
    assert calm == pytest.approx(16.4, rel=0.2)
    assert estimator.estimate(link.now_s + 0.1).transfer_ms(40_000) > 60


def test_age_and_loss_are_told() -> None:
    estimator = LinkEstimator(PRIOR)
    assert math.isinf(estimator.estimate(5).age_s)
    estimator.answered(1000, 12, 10.0)
    assert estimator.estimate(13.5).age_s == 3.5
    for _ in range(100):
        estimator.lost(20.0)
    assert estimator.estimate(20).loss > 0.9


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_impossible_samples_are_ignored_and_impossible_estimates_refused(wrong: float) -> None:
    estimator = LinkEstimator(PRIOR)
    estimator.answered(1000, wrong, 1.0)
    estimator.answered(wrong, 5.0, 1.0)
    assert estimator.samples == 0
    with pytest.raises(SpecError, match="no estimate"):
        LinkEstimate(goodput_mbps=wrong, round_trip_ms=1)
    with pytest.raises(SpecError, match="no estimate"):
        LinkEstimate(goodput_mbps=1, round_trip_ms=wrong)
