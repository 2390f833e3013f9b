"""The wall clock, the true one and emulated wrong ones."""

from __future__ import annotations

import time

import pytest

from tercet.boot_clock import boot_id, boottime_us
from tercet.errors import SpecError
from tercet.wall_clock import MOST_S, REAL_CLOCK, ClockJump, WallClock


def test_the_real_clock_is_the_machines_and_says_that_nothing_is_emulated() -> None:
    assert abs(REAL_CLOCK.now_us() / 1e6 - time.time()) < 5
    assert REAL_CLOCK.note == ""


def test_an_emulated_offset_moves_the_clock_and_is_named() -> None:
    clock = WallClock(-3600)
    assert abs(REAL_CLOCK.now_us() - clock.now_us() - 3600e6) < 5e6
    assert clock.note == "emulated, -3600 s"


def test_an_emulated_clock_may_say_1970_but_nothing_before() -> None:
    assert WallClock(-MOST_S).now_us() == 0
    assert WallClock(-MOST_S).now_iso() == "1970-01-01T00:00:00+00:00"


def test_an_emulated_jump_comes_when_its_time_has_come() -> None:
    assert abs(WallClock(jump=ClockJump(3600, 1e6)).now_us() - REAL_CLOCK.now_us()) < 5e6
    jumped = WallClock(10, ClockJump(0, -1000))
    assert abs(jumped.now_us() - REAL_CLOCK.now_us() + 990e6) < 5e6
    assert jumped.note == "emulated, +10 s and -1000 s after 0 s"


def test_a_jump_is_read_as_it_is_written() -> None:
    assert ClockJump.parse("10:-3600") == ClockJump(10, -3600)
    assert ClockJump.parse(str(ClockJump(1.5, 20))) == ClockJump(1.5, 20)


@pytest.mark.parametrize("text", ["", "10", "10:", ":5", "-1:5", "a:b", "1:2:3", "1e3:5", "1:99999999999"])
def test_what_is_no_jump_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="AT:BY"):
        ClockJump.parse(text)


@pytest.mark.parametrize("offset_s", [MOST_S * 1.01, float("nan"), float("inf")])
def test_an_impossible_offset_is_refused(offset_s: float) -> None:
    with pytest.raises(SpecError, match="at most"):
        WallClock(offset_s)


def test_the_boot_clock_runs_and_the_boot_has_a_name() -> None:
    first = boottime_us()
    assert 0 < first <= boottime_us()
    assert len(boot_id()) >= 32
    assert boot_id() == boot_id()


@pytest.mark.parametrize("text", ["10:-3600", "1.78:-157788000", "0:4999999999.5", "86400:0.25"])
def test_a_jump_is_read_as_it_was_said(text: str) -> None:
    assert str(ClockJump.parse(text)) == text
