import asyncio
from pathlib import Path

import pytest

from support.durable_frames import arrival, sealing
from support.durable_states import SetClock
from tercet.durable.bounds import Bounds
from tercet.durable.capture_time import AgeSource
from tercet.durable.journal import Arrival, Journal
from tercet.errors import FrameTooLargeError, OverloadedError, SettingsError

DAY_S = 24 * 3600.0


def test_what_just_fits_is_taken() -> None:
    bounds = Bounds(max_bytes=100)
    assert bounds.bytes_to_expire(90, 10) == 0
    with pytest.raises(OverloadedError) as refusal:
        bounds.bytes_to_expire(91, 10)
    assert refusal.value.retry_after_s
    assert Bounds(max_bytes=100, policy="expire-oldest").bytes_to_expire(91, 10) == 1


@pytest.mark.parametrize("policy", ["refuse-newest", "expire-oldest"])
def test_what_never_fits_expires_nothing(policy: str) -> None:
    with pytest.raises(FrameTooLargeError, match="never fits"):
        Bounds(max_bytes=100, policy=policy).bytes_to_expire(0, 101)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"max_bytes": 0}, {"max_age_s": 0.0}, {"max_age_s": float("nan")}])
def test_impossible_bounds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        Bounds(**wrong)  # type: ignore[arg-type]


async def ages_left(folder: Path, clock: SetClock, limit_s: float, arrivals: list[Arrival]) -> list[int]:
    """The sequences that are left after the age limit was applied."""
    bounds = Bounds(max_age_s=limit_s)
    async with Journal.open(folder / "j.db", bounds, ballast_bytes=0, clock=clock.clock(folder)) as journal:
        await journal.take(arrivals)
        before = journal.counters()
        expired = await journal.expire()
        left = [entry.sequence for entry in await journal.pending(0, 100, 1 << 40)]
        assert journal.counters().expired - before.expired == expired
        assert expired == before.taken - before.expired - len(left)
        return left


def test_frames_over_the_age_limit_are_given_up_and_counted(tmp_path: Path) -> None:
    clock = SetClock()
    now = clock.clock(tmp_path).now()
    frames = [
        Arrival(one.node, one.sequence, one.sealed, now.earlier(age_s * 1000, AgeSource.MONOTONIC))
        for age_s, one in ((age_s, arrival("a", age_s)) for age_s in (100, 50, 61, 59))
    ]
    assert asyncio.run(ages_left(tmp_path, clock, 60, frames)) == [50, 59]
    clock.passes(2)
    assert asyncio.run(ages_left(tmp_path, clock, 60, [])) == [50]


def test_a_wall_clock_that_jumps_costs_no_frame(tmp_path: Path) -> None:
    clock = SetClock()
    stamped = Arrival(arrival("a", 1).node, 1, arrival("a", 1).sealed, clock.clock(tmp_path).now())
    asyncio.run(ages_left(tmp_path, clock, DAY_S, [stamped]))
    clock.wall_us += round(1000 * DAY_S * 1e6)
    assert asyncio.run(ages_left(tmp_path, clock, DAY_S, [])) == [1]


def test_a_clock_that_nobody_compared_costs_no_frame_of_an_earlier_boot(tmp_path: Path) -> None:
    """By the wall clock the frame is a hundred days old; only the time since the restart is sure."""
    clock = SetClock()
    stamped = Arrival(arrival("a", 1).node, 1, arrival("a", 1).sealed, clock.clock(tmp_path).now())
    asyncio.run(ages_left(tmp_path, clock, DAY_S, [stamped]))
    clock.wall_us += round(100 * DAY_S * 1e6)
    clock.restarts(boottime_s=10)
    assert asyncio.run(ages_left(tmp_path, clock, DAY_S, [])) == [1]
    clock.passes(DAY_S)
    assert asyncio.run(ages_left(tmp_path, clock, DAY_S, [])) == []


def test_a_clock_that_was_compared_before_and_after_is_believed(tmp_path: Path) -> None:
    clock = SetClock()
    true_us = clock.wall_us

    def compare() -> None:
        known = clock.clock(tmp_path)
        asked = known.ask()
        known.learn("cloud", asked, true_us)

    compare()
    stamped = Arrival(arrival("a", 1).node, 1, arrival("a", 1).sealed, clock.clock(tmp_path).now())
    asyncio.run(ages_left(tmp_path, clock, DAY_S, [stamped]))
    clock.restarts(boottime_s=10)
    clock.wall_us = 0
    true_us += round(2 * DAY_S * 1e6)
    compare()
    assert asyncio.run(ages_left(tmp_path, clock, DAY_S, [])) == []


async def test_without_an_age_limit_nothing_is_ever_too_old(tmp_path: Path) -> None:
    clock = SetClock()
    async with Journal.open(tmp_path / "j.db", Bounds(), ballast_bytes=0, clock=clock.clock(tmp_path)) as journal:
        await journal.record(sealing("d"), clock.clock(tmp_path).now())
        clock.passes(10_000 * DAY_S)
        assert await journal.expire() == 0
        held = journal.held()
        assert held.frames == 1
        assert held.oldest_age_s == pytest.approx(10_000 * DAY_S)
