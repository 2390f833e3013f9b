"""The disorder that the chaos suite makes: repeatable, and nothing is held for ever or dropped."""

from __future__ import annotations

from chaos.disorder import Disorder, Mixer


def test_a_seed_makes_the_same_disorder_again() -> None:
    one, two = Mixer(Disorder(), 5), Mixer(Disorder(), 5)
    assert [one.delays_s() for _ in range(200)] == [two.delays_s() for _ in range(200)]


def test_every_message_is_passed_on_once_or_twice_and_soon() -> None:
    disorder = Disorder()
    mixer = Mixer(disorder, 6)
    delays = [mixer.delays_s() for _ in range(500)]
    assert {len(copies) for copies in delays} == {1, 2}
    assert all(0 <= delay_s <= disorder.held_most_s for copies in delays for delay_s in copies)
    assert mixer.doubled == sum(len(copies) == 2 for copies in delays)
    assert 0 < mixer.held < sum(map(len, delays))
