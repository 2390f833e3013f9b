"""How much goes into a message of durable frames, and how long its receipt is awaited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.back_off import BackOff
from tercet.durable.batch_pace import MAX_BATCH_BYTES, MAX_BATCH_FRAMES, BatchPace
from tercet.errors import SpecError


def full(pace: BatchPace, took_s: float) -> None:
    pace.answered(pace.max_frames, pace.max_bytes, took_s)


def test_quick_receipts_let_messages_grow_to_the_limit() -> None:
    pace = BatchPace(0.25)
    assert pace.max_frames < MAX_BATCH_FRAMES
    for _ in range(10):
        full(pace, 0.01)
    assert (pace.max_frames, pace.max_bytes) == (MAX_BATCH_FRAMES, MAX_BATCH_BYTES)


def test_messages_that_were_not_full_do_not_grow() -> None:
    pace = BatchPace(0.25)
    before = pace.max_frames
    for _ in range(10):
        pace.answered(1, 10, 0.01)
    assert pace.max_frames == before


def test_slow_receipts_shrink_messages_down_to_one_frame() -> None:
    pace = BatchPace(0.25)
    for _ in range(20):
        full(pace, 1.0)
    assert pace.max_frames == 1
    assert pace.fill([10**6, 1, 1]) == 1


def test_a_link_settles_at_messages_that_take_about_the_target() -> None:
    pace = BatchPace(0.25)
    for _ in range(30):
        # 1 Mbit/s and 20 ms.
        full(pace, 0.02 + pace.max_bytes * 8 / 1e6)
    assert 0.25 / 4 <= 0.02 + pace.max_bytes * 8 / 1e6 <= 0.5


def test_missing_receipts_are_awaited_longer_and_longer_within_bounds() -> None:
    pace = BatchPace(0.25)
    waits = []
    for _ in range(8):
        waits.append(pace.timeout_s)
        pace.missed()
    assert waits == [2, 4, 8, 16, 30, 30, 30, 30]
    full(pace, 0.1)
    assert pace.timeout_s == 2


def test_a_way_that_is_always_slow_is_given_its_time() -> None:
    pace = BatchPace(0.25)
    for _ in range(20):
        full(pace, 3.0)
    assert 10 < pace.timeout_s <= 12


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=600))
def test_a_message_is_filled_in_order_and_never_over_its_bounds(sizes: list[int]) -> None:
    pace = BatchPace(0.25)
    for _ in range(5):
        full(pace, 0.01)
    count = pace.fill(sizes)
    assert 1 <= count <= min(len(sizes), pace.max_frames)
    assert count == 1 or sum(sizes[:count]) <= pace.max_bytes
    assert count in (len(sizes), pace.max_frames) or sum(sizes[: count + 1]) > pace.max_bytes


@pytest.mark.parametrize("numbers", [(0, 2, 30), (3, 2, 30), (1, 40, 30)])
def test_an_impossible_pace_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(SpecError):
        BatchPace(numbers[0], first_timeout_s=numbers[1], longest_timeout_s=numbers[2])


@given(st.integers(0, 1000))
def test_waits_double_with_jitter_up_to_the_most_and_start_anew_after_success(seed: int) -> None:
    back_off = BackOff(0.2, 5.0, seed=seed)
    for most_s in (0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        assert most_s / 2 <= back_off.wait_s() <= most_s
    assert back_off.failures == 7
    back_off.reset()
    assert back_off.wait_s() <= 0.2


def test_what_the_other_side_asks_for_is_waited_within_the_most() -> None:
    back_off = BackOff(0.2, 5.0)
    assert back_off.wait_s(2.0) == 2.0
    assert back_off.wait_s(3600.0) == 5.0
