"""When a connection counts as dead: silence, uploads that get on, and looks that come late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tercet.links.liveness import LOOK_EVERY_S, MOST_PATIENCE_S, PING_EVERY_S, SILENT_S, Liveness, Sign, Traffic

MBIT = 125_000


class Line:
    """A connection that a test moves on, look by look."""

    def __init__(self) -> None:
        self.now_s, self.received, self.taken, self.outstanding = 100.0, 0, 0, 0
        self.liveness = Liveness(self.now_s, self.traffic, seed=1)

    @property
    def traffic(self) -> Traffic:
        return Traffic(self.received, self.taken, self.outstanding)

    def look(self, after_s: float = LOOK_EVERY_S) -> Sign:
        self.now_s += after_s
        return self.liveness.look(self.now_s, self.traffic)

    def looks(self, lasts_s: float) -> Iterator[Sign]:
        until_s = self.now_s + lasts_s
        while self.now_s < until_s:
            yield self.look()

    def until_dead(self) -> float:
        began_s = self.now_s
        while self.look() != "dead":
            assert self.now_s - began_s < 1000
        return self.now_s - began_s

    def take(self, size_bytes: int) -> None:
        size_bytes = min(size_bytes, self.outstanding)
        self.outstanding -= size_bytes
        self.taken += size_bytes


def test_a_connection_that_answers_pings_lives_for_ever() -> None:
    line = Line()
    signs = []
    for sign in line.looks(600):
        signs.append(sign)
        if sign == "ping":
            line.received += 2
            line.taken += 2
    assert "dead" not in signs
    assert signs.count("ping") >= 600 / (PING_EVERY_S + LOOK_EVERY_S)


def test_silence_is_death_within_five_seconds() -> None:
    line = Line()
    line.received += 1
    assert line.look() == "fine"
    assert SILENT_S <= line.until_dead() <= 5.0


def test_frames_that_nobody_answers_are_no_sign_of_life() -> None:
    """As through a relay that takes every byte and passes none on."""
    line = Line()
    signs = []
    for number in range(10):
        line.taken += 1000
        line.outstanding = 500 * (number % 2)
        signs.append(line.look())
    assert "dead" in signs


def test_any_byte_that_comes_is_a_sign_of_life_and_saves_the_ping() -> None:
    line = Line()
    for _ in range(100):
        line.received += 1
        line.taken += 1
        assert line.look() == "fine"


def test_who_only_receives_still_pings_so_that_the_broker_hears_of_it() -> None:
    line = Line()
    pings = 0
    for _ in range(100):
        line.received += 1
        pings += line.look() == "ping"
    assert pings >= 100 * LOOK_EVERY_S / (PING_EVERY_S + LOOK_EVERY_S)


@pytest.mark.parametrize("rate_bytes_per_s", [MBIT // 8, MBIT, 20 * MBIT])
def test_the_largest_frame_may_cross_a_link_however_slow(rate_bytes_per_s: int) -> None:
    line = Line()
    line.outstanding = 64 << 20
    while line.outstanding:
        line.take(round(rate_bytes_per_s * LOOK_EVERY_S))
        assert line.look() != "dead"
    line.received += 2
    assert line.look() != "dead"


def test_an_upload_that_stops_getting_on_is_noticed_as_soon_as_silence() -> None:
    line = Line()
    line.outstanding = 64 << 20
    for _ in line.looks(20):
        line.take(MBIT)
    assert line.until_dead() <= 5.0


def test_after_a_long_upload_the_answer_may_take_as_long_again_but_not_for_ever() -> None:
    line = Line()
    line.outstanding = 20 * MBIT
    while line.outstanding:
        line.take(MBIT)
        line.look()
    assert SILENT_S < line.until_dead() < 15
    line = Line()
    line.outstanding = 1000 * MBIT
    while line.outstanding:
        line.take(MBIT)
        line.look()
    assert line.until_dead() <= MOST_PATIENCE_S + 1


def test_an_answer_ends_the_patience() -> None:
    line = Line()
    line.outstanding = 20 * MBIT
    while line.outstanding:
        line.take(MBIT)
        line.look()
    line.received += 2
    line.look()
    assert line.until_dead() <= 5.0


def test_only_one_ping_waits_behind_an_upload_and_says_for_how_long() -> None:
    line = Line()
    line.outstanding = 64 << 20
    pings = 0
    for sign in line.looks(10):
        line.take(MBIT)
        pings += sign == "ping"
    assert pings == 1
    assert 8 <= line.liveness.waited_s(line.now_s) <= 10


def test_time_in_which_nobody_looked_is_not_silence() -> None:
    line = Line()
    for _ in range(3):
        assert line.look(after_s=60.0) != "dead"


def test_devices_that_start_together_do_not_ping_together() -> None:
    firsts = set()
    for seed in range(50):
        liveness = Liveness(0.0, Traffic(0, 0, 0), seed=seed)
        now_s = 0.0
        while liveness.look(now_s, Traffic(0, 0, 0)) != "ping":
            now_s += 0.01
        firsts.add(round(now_s, 1))
    assert len(firsts) >= 4
    assert max(firsts) <= PING_EVERY_S + 0.1
