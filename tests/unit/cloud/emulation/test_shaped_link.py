from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.shaped_link import (
    MOST_HELD_BYTES,
    PACKET_BYTES,
    RECOVERY_LEAST_S,
    ShapedDirection,
    ShapedLink,
)

SIZES = st.lists(st.integers(1, 100_000), min_size=1, max_size=30)
RATES = st.floats(0.1, 1000)


def direction(mbps: float = 8.0, *, seed: int = 0, **condition: float) -> ShapedDirection:
    return ShapedDirection(mbps, LinkCondition.model_validate(condition), seed)


@given(RATES, SIZES)
def test_a_busy_link_sends_exactly_at_its_rate(mbps: float, sizes: list[int]) -> None:
    shaped = direction(mbps)
    slots = [shaped.send(5.0, size) for size in sizes]
    assert slots[-1].sent_s - 5.0 == pytest.approx(sum(sizes) * 8e-6 / mbps)


@given(RATES, SIZES, st.floats(0, 1000))
def test_a_chunk_arrives_half_a_round_trip_after_its_last_bit_left(
    mbps: float, sizes: list[int], round_trip_ms: float
) -> None:
    shaped = direction(mbps, round_trip_ms=round_trip_ms)
    for size in sizes:
        slot = shaped.send(0.0, size)
        assert slot.arrives_s - slot.sent_s == pytest.approx(round_trip_ms / 2000)


def test_an_idle_link_starts_at_once() -> None:
    shaped = direction(8.0)
    shaped.send(0.0, 1000)
    assert shaped.send(10.0, 1000).sent_s == pytest.approx(10.001)


@given(SIZES, st.floats(0, 50), st.floats(0, 0.5), st.integers(0, 99))
def test_what_one_connection_sends_first_arrives_first(
    sizes: list[int], jitter_ms: float, loss: float, seed: int
) -> None:
    shaped = direction(30, round_trip_ms=20, jitter_ms=jitter_ms, loss=loss, seed=seed)
    last_s, arrivals = 0.0, []
    for size in sizes:
        last_s = shaped.send(0.0, size, last_s).arrives_s
        arrivals.append(last_s)
    assert all(earlier <= later for earlier, later in pairwise(arrivals))


@given(st.floats(0, 50), st.integers(0, 99))
def test_jitter_only_adds_and_never_more_than_it_may(jitter_ms: float, seed: int) -> None:
    shaped = direction(8, jitter_ms=jitter_ms, seed=seed)
    for number in range(20):
        slot = shaped.send(float(number), 100)
        assert slot.sent_s <= slot.arrives_s <= slot.sent_s + jitter_ms / 1000 + 1e-9


@pytest.mark.parametrize(("round_trip_ms", "recovery_s"), [(0.0, RECOVERY_LEAST_S), (100.0, 0.1)])
def test_a_lost_packet_comes_a_round_trip_later_and_takes_the_link_again(
    round_trip_ms: float, recovery_s: float
) -> None:
    shaped = direction(8, round_trip_ms=round_trip_ms, loss=0.3)
    late = []
    for number in range(300):
        began_s = float(number)
        slot = shaped.send(began_s, PACKET_BYTES)
        rounds = (slot.arrives_s - slot.sent_s - round_trip_ms / 2000) / recovery_s
        assert rounds == pytest.approx(round(rounds), abs=1e-6)
        assert slot.sent_s - began_s == pytest.approx((1 + round(rounds)) * PACKET_BYTES * 1e-6)
        late.append(rounds > 0.5)
    assert 50 < sum(late) < 130


def test_the_same_seed_loses_the_same() -> None:
    def arrivals(seed: int) -> list[float]:
        shaped = direction(8, loss=0.2, jitter_ms=5, seed=seed)
        return [shaped.send(0.0, 5000).arrives_s for _ in range(20)]

    assert arrivals(3) == arrivals(3) != arrivals(4)


def test_a_change_holds_for_what_is_sent_later() -> None:
    link = ShapedLink(LinkCondition(up_mbps=8, down_mbps=80))
    before = link.up.send(0.0, 1_000_000)
    link.change(LinkCondition(up_mbps=80, down_mbps=8, round_trip_ms=40))
    assert before.arrives_s == pytest.approx(1.0)
    assert link.up.send(0.0, 1_000_000).sent_s == pytest.approx(1.1)
    assert link.down.send(0.0, 1_000_000).arrives_s == pytest.approx(1.02)


@given(RATES, st.floats(0, 1000))
def test_chunks_and_what_is_held_are_bounded(mbps: float, round_trip_ms: float) -> None:
    shaped = direction(mbps, round_trip_ms=round_trip_ms)
    assert PACKET_BYTES <= shaped.chunk_bytes <= 65536
    assert shaped.chunk_bytes <= shaped.held_bytes <= MOST_HELD_BYTES
    # Enough for the link to be always busy.
    assert shaped.held_bytes >= min(MOST_HELD_BYTES, mbps * 1e6 / 8 * round_trip_ms / 1000)


@pytest.mark.parametrize(
    "wrong",
    [{"up_mbps": 0}, {"down_mbps": -1}, {"loss": 1.0}, {"round_trip_ms": -1}, {"jitter_ms": float("nan")}],
)
def test_an_impossible_condition_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkCondition.model_validate(wrong)


def test_a_condition_says_what_it_is() -> None:
    condition = LinkCondition(up_mbps=8, down_mbps=20, round_trip_ms=40, loss=0.01, stalled_up=True)
    assert str(condition) == "8/20 Mbit/s, 40 ms round trip, 0.01 loss, half-open up"
    assert str(LinkCondition(cut=True)) == "cut"
