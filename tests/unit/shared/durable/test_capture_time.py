"""Ages of frames, whatever wall clocks say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.durable.capture_time import MAX_AGE_MS, AgeSource, CaptureStamp, age
from tercet.durable.clock_offset import ClockOffsets, Comparison
from tercet.v1 import delivery_pb2 as pb

S = 1_000_000
DAY = 86_400 * S
# 2026-01-01, and a clock without a battery.
RIGHT, UNSET = 1_767_225_600 * S, 3 * S
NO_OFFSETS = ClockOffsets()


def stamp(wall_us: int, boottime_us: int, boot: str = "second") -> CaptureStamp:
    return CaptureStamp(wall_us, boottime_us, boot)


def compared(boot: str, offset_us: int, host: str = "edge-1", error_us: int = 5000) -> Comparison:
    return Comparison(boot_id=boot, host=host, offset_us=offset_us, error_us=error_us)


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**52), st.integers(0, 2**52))
def test_within_a_boot_the_wall_clock_does_not_matter(
    began_us: int, took_us: int, wall_then: int, wall_now: int
) -> None:
    found = age(stamp(wall_then, began_us), stamp(wall_now, began_us + took_us), NO_OFFSETS)
    assert found == (took_us // 1000, AgeSource.MONOTONIC)


def test_after_a_restart_a_compared_clock_tells_the_age_although_ours_says_1970() -> None:
    # Captured an hour into a boot that began at RIGHT; powered off for a day; up again since a minute.
    captured = stamp(UNSET + 3600 * S, 3600 * S, "first")
    now = stamp(UNSET + 60 * S, 60 * S)
    offsets = ClockOffsets((compared("first", RIGHT), compared("second", RIGHT + DAY)))
    assert age(captured, now, offsets) == ((DAY + 60 * S - 3600 * S) // 1000, AgeSource.COMPARED_CLOCK)


def test_of_several_hosts_that_know_both_boots_the_surest_is_asked() -> None:
    captured, now = stamp(UNSET, 10 * S, "first"), stamp(UNSET, 10 * S)
    offsets = ClockOffsets(
        (
            compared("first", RIGHT + 7 * S, "far", error_us=900_000),
            compared("first", RIGHT, "near"),
            compared("second", RIGHT + 200 * S, "far", error_us=900_000),
            compared("second", RIGHT + 100 * S, "near"),
        )
    )
    assert age(captured, now, offsets) == (100_000, AgeSource.COMPARED_CLOCK)


def test_after_a_restart_without_comparison_the_bare_clock_is_taken_and_named() -> None:
    captured, now = stamp(RIGHT, 500 * S, "first"), stamp(RIGHT + 300 * S, 100 * S)
    assert age(captured, now, NO_OFFSETS) == (300_000, AgeSource.BARE_CLOCK)
    half = ClockOffsets((compared("first", RIGHT),))
    assert age(captured, now, half) == (300_000, AgeSource.BARE_CLOCK)


@pytest.mark.parametrize(
    ("wall_then", "wall_now"),
    [
        pytest.param(UNSET + 500 * S, UNSET + 100 * S, id="starts at 1970 every time"),
        pytest.param(UNSET + 90 * S, UNSET + 100 * S, id="starts at 1970, captured early"),
        pytest.param(UNSET + 90 * S, RIGHT, id="set since"),
        pytest.param(RIGHT, UNSET + 100 * S, id="lost since"),
    ],
)
def test_a_clock_that_was_not_set_gives_no_age_but_the_time_since_the_start(wall_then: int, wall_now: int) -> None:
    captured, now = stamp(wall_then, 90 * S, "first"), stamp(wall_now, 100 * S)
    assert age(captured, now, NO_OFFSETS) == (100_000, AgeSource.UNKNOWN)


def test_a_comparison_that_contradicts_the_time_since_the_start_is_not_believed() -> None:
    # The other host's own clock was at 1970 when we were up again.
    captured, now = stamp(RIGHT, 90 * S, "first"), stamp(RIGHT + 400 * S, 100 * S)
    offsets = ClockOffsets((compared("first", RIGHT), compared("second", UNSET)))
    assert age(captured, now, offsets) == (400_000, AgeSource.BARE_CLOCK)


def test_the_weakest_knowledge_on_the_way_is_told_along() -> None:
    arrived = stamp(RIGHT, 1000 * S).earlier(5_000, AgeSource.BARE_CLOCK)
    assert age(arrived, stamp(RIGHT, 1002 * S), NO_OFFSETS) == (7_000, AgeSource.BARE_CLOCK)
    assert age(arrived, stamp(RIGHT + 50 * S, 10 * S, "third"), NO_OFFSETS)[1] == AgeSource.BARE_CLOCK
    sure = stamp(RIGHT, 1000 * S).earlier(5_000, AgeSource.MONOTONIC)
    assert age(sure, stamp(RIGHT + 50 * S, 10 * S, "third"), NO_OFFSETS) == (55_000, AgeSource.BARE_CLOCK)


def test_a_frame_may_be_older_than_this_host_is_up() -> None:
    arrived = stamp(RIGHT, 10 * S).earlier(3_600_000, AgeSource.MONOTONIC)
    assert arrived.boottime_us < 0
    assert age(arrived, stamp(RIGHT, 11 * S), NO_OFFSETS) == (3_601_000, AgeSource.MONOTONIC)


def test_an_age_that_nobody_can_have_counts_as_unknown() -> None:
    arrived = stamp(RIGHT, 10 * S).earlier(MAX_AGE_MS + 1, AgeSource.MONOTONIC)
    assert age(arrived, stamp(RIGHT, 12 * S), NO_OFFSETS) == (2_000, AgeSource.UNKNOWN)


def test_sources_cross_the_wire() -> None:
    assert [AgeSource.from_wire(source.wire) for source in AgeSource] == list(AgeSource)
    assert {source.wire for source in AgeSource} == set(pb.AgeSource.values())
    assert AgeSource.from_wire(77) is AgeSource.UNKNOWN
