"""When predictions stop to hold."""

from __future__ import annotations

import pytest

from tercet.adaptive.prediction_watch import PredictionWatch
from tercet.errors import SpecError


def fed(watch: PredictionWatch, ratio: float, count: int) -> PredictionWatch:
    for _ in range(count):
        watch.add(10 * ratio, 10)
    return watch


def test_a_full_window_of_late_frames_is_noticed_and_a_part_is_not() -> None:
    assert not fed(PredictionWatch(window=10), 3, 9).off
    assert fed(PredictionWatch(window=10), 3, 10).off


def test_frames_much_quicker_than_predicted_are_noticed_too() -> None:
    assert fed(PredictionWatch(window=10), 0.3, 10).off


def test_a_few_late_frames_are_not_a_change() -> None:
    watch = fed(fed(PredictionWatch(window=20), 1, 15), 30, 5)
    assert not watch.off
    assert watch.ratio == 1


def test_after_a_reset_a_new_window_is_needed() -> None:
    watch = fed(PredictionWatch(window=5), 4, 5)
    watch.reset()
    assert watch.ratio == 1
    assert not fed(watch, 4, 4).off


def test_what_cannot_be_compared_is_left_out() -> None:
    watch = PredictionWatch(window=2)
    watch.add(float("nan"), 10)
    watch.add(10, 0)
    watch.add(float("inf"), 10)
    assert watch.ratio == 1


@pytest.mark.parametrize(("limit", "window"), [(1, 10), (0.5, 10), (2, 0)])
def test_impossible_settings_are_refused(limit: float, window: int) -> None:
    with pytest.raises(SpecError, match="ratio above 1"):
        PredictionWatch(limit=limit, window=window)
