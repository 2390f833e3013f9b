"""Comparing clocks of two hosts by questions and answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tercet.durable.clock_offset import (
    KEPT_BOOTS,
    KEPT_HOSTS,
    ClockOffsets,
    Comparison,
    Exchange,
    HostClock,
    WallWatch,
)

S = 1_000_000
OFFSET = 1_700_000_000 * S


def exchange(sent_us: int, there_us: int, back_us: int, offset_us: int = OFFSET) -> Exchange:
    return Exchange(sent_us, sent_us + there_us + back_us, sent_us + there_us + offset_us)


@given(st.integers(0, 10**12), st.integers(0, 10**8), st.integers(0, 10**8), st.integers(0, 2**52))
def test_the_true_offset_lies_within_the_bound(sent_us: int, there_us: int, back_us: int, offset_us: int) -> None:
    found = exchange(sent_us, there_us, back_us, offset_us)
    assert abs(found.offset_us - offset_us) <= found.error_us


def test_the_quickest_exchange_is_believed_until_clocks_may_have_drifted() -> None:
    clock = HostClock()
    quick = exchange(0, 100, 100)
    clock.add(quick)
    for number in range(1, 20):
        clock.add(exchange(number * S, 40_000, 10_000))
    assert clock.best(20 * S) == quick
    later = exchange(3600 * S, 5_000, 5_000)
    clock.add(later)
    assert clock.best(3600 * S) == later


def test_a_clock_that_was_set_is_noticed_and_what_was_known_is_forgotten() -> None:
    clock = HostClock()
    assert not clock.add(exchange(0, 1000, 1000))
    assert not clock.add(exchange(1 * S, 900_000, 100_000))
    assert clock.add(exchange(3 * S, 1000, 1000, OFFSET + 3600 * S))
    best = clock.best(4 * S)
    assert best is not None
    assert abs(best.offset_us - OFFSET - 3600 * S) <= best.error_us
    assert not clock.add(exchange(5 * S, 1000, 1000, OFFSET + 3600 * S))


def test_a_slow_answer_is_no_jump() -> None:
    clock = HostClock()
    clock.add(exchange(0, 1000, 1000))
    assert not clock.add(exchange(10 * S, 30 * S, 0))


def test_a_jump_of_our_wall_clock_is_found_once_and_steering_is_none() -> None:
    watch = WallWatch()
    looks = [(0, 0), (S, S), (2 * S + 400_000, 2 * S), (-3000 * S, 3 * S), (-2999 * S, 4 * S)]
    assert [watch.look(OFFSET + wall, boottime) for wall, boottime in looks] == [0, 0, 0, -3003 * S - 400_000, 0]


def test_comparisons_of_the_last_boots_and_hosts_are_kept() -> None:
    offsets = ClockOffsets()
    for boot in range(KEPT_BOOTS + 3):
        for host in range(KEPT_HOSTS + 2):
            found = Comparison(boot_id=f"boot-{boot}", host=f"edge-{host}", offset_us=boot, error_us=1)
            offsets = offsets.with_comparison(found)
    assert {found.boot_id for found in offsets.comparisons} == {f"boot-{boot}" for boot in range(3, KEPT_BOOTS + 3)}
    assert list(offsets.of(f"boot-{KEPT_BOOTS}")) == [f"edge-{host}" for host in range(2, KEPT_HOSTS + 2)]
    newer = Comparison(boot_id="boot-4", host="edge-3", offset_us=9, error_us=1)
    assert offsets.with_comparison(newer).of("boot-4")["edge-3"] == newer
    assert len(offsets.with_comparison(newer).comparisons) == len(offsets.comparisons)
