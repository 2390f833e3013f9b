"""The order in which waiting frames run, and who shares a run."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import OverloadedError, SpecError
from tercet_edge.batch_queue import Batch, BatchQueue, OverloadPolicy, Waiting


def queue(
    max_queued: int = 16, max_batch: int = 4, max_wait_s: float = 0.0, policy: OverloadPolicy = "refuse-newest"
) -> BatchQueue[str]:
    return BatchQueue(max_queued=max_queued, max_batch=max_batch, max_wait_s=max_wait_s, policy=policy)


def put(
    into: BatchQueue[str],
    name: str,
    at_s: float = 0.0,
    key: str | None = "k",
    deadline_s: float = inf,
    durable: bool = False,
) -> Waiting[str]:
    item = Waiting(name, key, at_s, deadline_s, durable)
    into.put(item, at_s)
    return item


def taken(source: BatchQueue[str], now_s: float = 0.0) -> list[str]:
    found = source.take(now_s)
    assert isinstance(found, Batch)
    return [item.work for item in found.run]


def test_frames_of_one_key_share_a_run_up_to_the_limit() -> None:
    waiting = queue(max_batch=3)
    for name in "abcd":
        put(waiting, name)
    assert [taken(waiting), taken(waiting)] == [["a", "b", "c"], ["d"]]
    assert waiting.take(0) is None


def test_frames_of_other_keys_or_none_run_apart() -> None:
    waiting = queue()
    put(waiting, "a", key="x")
    put(waiting, "b", key=None)
    put(waiting, "c", key="x")
    put(waiting, "d", key=None)
    assert [taken(waiting) for _ in range(3)] == [["a", "c"], ["b"], ["d"]]


def test_realtime_goes_before_durable_until_durable_has_waited_long() -> None:
    waiting = queue(max_batch=1)
    put(waiting, "old durable", durable=True)
    put(waiting, "realtime")
    assert taken(waiting, 0.1) == ["realtime"]
    put(waiting, "realtime again", at_s=5.0)
    assert taken(waiting, 5.0) == ["old durable"]


def test_a_lone_frame_is_not_held_back() -> None:
    waiting = queue(max_wait_s=0.005)
    put(waiting, "a", at_s=10.0)
    assert taken(waiting, 10.0) == ["a"]


def test_a_frame_among_many_is_held_back_for_company_but_not_for_long() -> None:
    waiting = queue(max_wait_s=0.005)
    for number in range(40):
        put(waiting, str(number), at_s=number * 0.001)
        waiting.clear()
    put(waiting, "a", at_s=0.04)
    hold_s = waiting.take(0.04)
    assert isinstance(hold_s, float)
    assert 0 < hold_s <= 0.005
    put(waiting, "b", at_s=0.042)
    assert taken(waiting, 0.0451) == ["a", "b"]


def test_a_near_deadline_ends_the_wait_for_company() -> None:
    waiting = queue(max_wait_s=0.5)
    waiting.ran(1, 0.010)
    for number in range(40):
        put(waiting, str(number), at_s=number * 0.001)
        waiting.clear()
    put(waiting, "a", at_s=0.04, deadline_s=0.1)
    hold_s = waiting.take(0.04)
    assert isinstance(hold_s, float)
    assert hold_s <= 0.1 - 0.04 - 0.02


def test_frames_past_their_deadline_are_not_computed() -> None:
    waiting = queue()
    put(waiting, "late", deadline_s=1.0)
    put(waiting, "fine", deadline_s=9.0)
    found = waiting.take(2.0)
    assert isinstance(found, Batch)
    assert [item.work for item in found.expired] == ["late"]
    assert taken(waiting, 2.0) == ["fine"]


def test_a_full_queue_refuses_the_newest_and_says_when_to_retry() -> None:
    waiting = queue(max_queued=2)
    waiting.ran(1, 0.2)
    put(waiting, "a")
    put(waiting, "b")
    with pytest.raises(OverloadedError, match="no room") as refused:
        put(waiting, "c")
    assert refused.value.retry_after_s == pytest.approx(0.4)
    assert taken(waiting) == ["a", "b"]


def test_drop_oldest_gives_the_place_of_the_oldest_realtime_frame_and_never_a_durable_one() -> None:
    waiting = queue(max_queued=2, policy="drop-oldest")
    put(waiting, "durable", durable=True)
    put(waiting, "old")
    dropped = waiting.put(Waiting("new", "k", 0.0), 0.0)
    assert dropped is not None
    assert dropped.work == "old"
    with pytest.raises(OverloadedError):
        put(waiting, "newer durable", durable=True)
    only_durable = queue(max_queued=1, policy="drop-oldest")
    put(only_durable, "durable", durable=True)
    with pytest.raises(OverloadedError):
        put(only_durable, "new")


def test_a_frame_that_could_only_be_late_is_refused_at_once() -> None:
    waiting = queue()
    waiting.ran(1, 0.1)
    for name in "abc":
        put(waiting, name)
    with pytest.raises(OverloadedError, match="longer than its deadline"):
        put(waiting, "d", deadline_s=0.25)
    put(waiting, "e", deadline_s=0.35)


def test_a_realtime_frame_is_not_refused_for_durable_ones_that_it_passes() -> None:
    waiting = queue()
    waiting.ran(1, 0.1)
    for name in "abcd":
        put(waiting, name, durable=True)
    assert waiting.queue_s() == 0
    assert waiting.queue_s(durable=True) == pytest.approx(0.4)
    put(waiting, "realtime", deadline_s=0.05)


def test_a_frame_whose_caller_went_away_is_forgotten() -> None:
    waiting = queue()
    item = put(waiting, "a")
    put(waiting, "b")
    waiting.remove(item)
    waiting.remove(item)
    assert taken(waiting) == ["b"]


@given(
    st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.booleans(), st.floats(0, 0.01)), max_size=40),
    st.integers(1, 5),
    st.floats(0, 0.01),
)
def test_every_frame_leaves_exactly_once(
    frames: list[tuple[str | None, bool, float]], max_batch: int, max_wait_s: float
) -> None:
    waiting: BatchQueue[str] = queue(max_queued=100, max_batch=max_batch, max_wait_s=max_wait_s)
    now_s, left = 0.0, []
    for number, (key, durable, pause_s) in enumerate(frames):
        now_s += pause_s
        put(waiting, str(number), at_s=now_s, key=key, durable=durable)
    while (found := waiting.take(now_s)) is not None:
        if isinstance(found, float):
            assert 0 < found <= max_wait_s
            now_s += found
            continue
        assert 1 <= len(found.run) <= max_batch
        assert len({item.key for item in found.run}) == 1
        left.extend(item.work for item in found.run)
    assert sorted(left) == sorted(map(str, range(len(frames))))


@pytest.mark.parametrize("wrong", [{"max_queued": 0}, {"max_batch": 0}, {"max_wait_s": -1.0}, {"max_wait_s": 5.0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        queue(**wrong)  # type: ignore[arg-type]
