from __future__ import annotations

import time

import pytest

from tercet.emulated_pace import FULL_PACE, EmulatedPace
from tercet.errors import SpecError


def busy(for_s: float) -> None:
    end_s = time.thread_time() + for_s
    while time.thread_time() < end_s:
        pass


def fail_after(for_s: float) -> None:
    busy(for_s)
    raise ZeroDivisionError


@pytest.mark.parametrize("wall", [False, True])
def test_a_slowed_body_takes_at_least_so_many_times_as_long_and_sleeps_the_rest(wall: bool) -> None:
    wall_s, processor_s = time.perf_counter(), time.thread_time()
    with EmulatedPace(8, wall=wall).slowed():
        busy(0.01)
    assert time.perf_counter() - wall_s >= 0.08
    assert time.thread_time() - processor_s < 0.04


def test_full_pace_adds_nothing_and_claims_nothing() -> None:
    with FULL_PACE.slowed():
        pass
    assert (FULL_PACE.note, FULL_PACE.claimed) == ("", 0.0)


def test_a_body_that_fails_is_not_slept_for() -> None:
    began_s = time.perf_counter()
    with pytest.raises(ZeroDivisionError), EmulatedPace(1000).slowed():
        fail_after(0.01)
    assert time.perf_counter() - began_s < 5


def test_time_that_neighbours_take_is_not_multiplied() -> None:
    began_s = time.perf_counter()
    with EmulatedPace(1000).slowed():
        time.sleep(0.02)
    assert time.perf_counter() - began_s < 10


@pytest.mark.parametrize("slowdown", [0.5, 0.0, -2.0, 1001.0, float("nan"), float("inf")])
def test_an_impossible_slowdown_is_refused(slowdown: float) -> None:
    with pytest.raises(SpecError, match="slow-down"):
        EmulatedPace(slowdown)


def test_the_emulation_is_named_for_people() -> None:
    assert EmulatedPace(6).note == "emulated, 6× slower"
