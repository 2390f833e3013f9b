"""The ledger finds every kind of broken promise in a history, and nothing in a sound one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from chaos.ledger import Acknowledged, FrameKey, History, Stored, broken_promises, settle

EPOCH = 77 << 32


def sound(seed: int, frames: int = 200) -> History:
    """Two devices, whose frames are stored interleaved, each device's in order; one frame is dead-lettered."""
    dice = random.Random(seed)
    acknowledged, stored = [], []
    left = {"cam-1": 0, "cam-2": 0}
    for number in range(frames):
        node = dice.choice(sorted(left))
        left[node] += 1
        key = FrameKey(node, EPOCH + left[node])
        acknowledged.append(Acknowledged(key, f"{number}.png"))
        stored.append(Stored(key, f"{number}.png"))
    dead = stored.pop(dice.randrange(frames)).key
    return History(offered=frames, acknowledged=acknowledged, stored=stored, dead=[dead])


def without_a_result(history: History, dice: random.Random) -> History:
    stored = list(history.stored)
    del stored[dice.randrange(len(stored))]
    return replace(history, stored=stored)


def stored_again(history: History, dice: random.Random) -> History:
    return replace(history, stored=[*history.stored, dice.choice(history.stored)])


def under_two_names(history: History, dice: random.Random) -> History:
    chosen = dice.choice(history.stored)
    other = FrameKey(chosen.key.node, EPOCH + len(history.acknowledged) + 1)
    return replace(
        history,
        offered=history.offered + 1,
        acknowledged=[*history.acknowledged, Acknowledged(other, "another.png")],
        stored=[*history.stored, replace(chosen, key=other)],
    )


def swapped_in_order(history: History, dice: random.Random) -> History:
    stored = list(history.stored)
    places = [place for place, result in enumerate(stored) if result.key.node == "cam-1"]
    first, second = sorted(dice.sample(places, 2))
    stored[first], stored[second] = stored[second], stored[first]
    return replace(history, stored=stored)


def swapped_in_content(history: History, dice: random.Random) -> History:
    stored = list(history.stored)
    one, two = dice.sample(range(len(stored)), 2)
    stored[one], stored[two] = (
        replace(stored[one], source=stored[two].source),
        replace(stored[two], source=stored[one].source),
    )
    return replace(history, stored=stored)


def with_nobodys_content(history: History, dice: random.Random) -> History:
    stored = list(history.stored)
    place = dice.randrange(len(stored))
    stored[place] = replace(stored[place], source=None)
    return replace(history, stored=stored)


def with_a_stranger(history: History, dice: random.Random) -> History:
    stranger = Stored(FrameKey("cam-1", EPOCH + 10_000 + dice.randrange(100)), "stranger.png")
    return replace(history, stored=[*history.stored, stranger])


def expired_beyond_what_is_missing(history: History, dice: random.Random) -> History:
    return replace(history, expired_count=dice.randrange(1, 5))


def dead_and_stored(history: History, dice: random.Random) -> History:
    return replace(history, dead=[*history.dead, dice.choice(history.stored).key])


def told_nothing(history: History, dice: random.Random) -> History:
    return replace(history, offered=history.offered + dice.randrange(1, 5))


def one_name_for_two(history: History, dice: random.Random) -> History:
    again = replace(dice.choice(history.acknowledged), source="another.png")
    return replace(history, offered=history.offered + 1, acknowledged=[*history.acknowledged, again])


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_history_breaks_nothing(seed: int) -> None:
    books = settle(sound(seed))
    assert broken_promises(books) == []
    assert (books.acknowledged, books.stored, len(books.dead)) == (200, 199, 1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_a_result, "1 lost"),
        (stored_again, "1 duplicated"),
        (under_two_names, "1 duplicated"),
        (swapped_in_order, "out of order"),
        (swapped_in_content, "2 wrong"),
        (with_nobodys_content, "1 wrong"),
        (with_a_stranger, "1 stored though nobody recorded them"),
        (expired_beyond_what_is_missing, "counted as expired"),
        (dead_and_stored, "both stored and dead-lettered"),
        (told_nothing, "frames offered"),
        (one_name_for_two, "one name was acknowledged for two frames"),
    ],
)
def test_every_broken_promise_is_found(
    spoil: Callable[[History, random.Random], History], says: str, seed: int
) -> None:
    broken = broken_promises(settle(spoil(sound(seed), random.Random(seed))))
    assert any(says in line for line in broken), broken


def test_lost_frames_are_named() -> None:
    history = sound(3)
    gone = history.stored[7].key
    books = settle(replace(history, stored=[result for result in history.stored if result.key != gone]))
    assert books.lost == (gone,)
    assert f"{gone.node}/{gone.sequence}" in broken_promises(books)[0]


def expiring(history: History, count: int) -> History:
    """As it is, but the first frames were given up."""
    gone = [result.key for result in history.stored[:count]]
    return replace(history, stored=history.stored[count:], expired=gone, expired_count=count)


def test_frames_given_up_with_notice_are_not_lost() -> None:
    history = sound(4)
    books = settle(expiring(history, 3))
    assert broken_promises(books) == []
    assert books.expired == 3


def test_frames_that_were_given_up_while_under_way_may_be_stored() -> None:
    history = expiring(sound(4), 5)
    history = replace(history, stored=sound(4).stored[3:])
    assert broken_promises(settle(replace(history, saved_most=2))) == []
    assert broken_promises(settle(replace(history, saved_most=1)))


def test_a_missing_frame_that_is_not_among_the_expired_is_lost() -> None:
    history = expiring(sound(4), 3)
    unnamed = history.expired[0]
    # Another in its place: the number is right.
    books = settle(replace(history, expired=[*history.expired[1:], history.stored[-1].key]))
    assert books.lost == (unnamed,)


def test_what_expired_is_counted_and_named_alike() -> None:
    assert broken_promises(settle(replace(expiring(sound(4), 3), expired_count=2)))


def test_a_killed_device_may_leave_what_nobody_was_told_of() -> None:
    history = with_a_stranger(sound(5), random.Random(5))
    assert broken_promises(settle(replace(history, unheard_most=1))) == []
    assert len(settle(history).invented) == 1


def test_an_unheard_frame_whose_photo_another_frame_has_too_is_a_recording_of_its_own() -> None:
    history = sound(6)
    unheard = replace(history.stored[0], key=FrameKey(history.stored[0].key.node, EPOCH + 9999))
    late = replace(history, stored=[*history.stored, unheard], unheard_most=1)
    assert broken_promises(settle(late)) == []


def test_a_late_result_must_be_allowed_and_noticed() -> None:
    history = sound(7)
    last = history.stored[-1]
    first = next(result for result in history.stored if result.key.node == last.key.node)
    rest = [result for result in history.stored if result is not first]
    noticed = replace(history, stored=[*rest, replace(first, late=True)])
    unnoticed = replace(history, stored=[*rest, first])
    assert settle(noticed).disordered == (first.key,)
    assert settle(replace(unnoticed, late_allowed=True)).disordered == (first.key,)
    allowed = settle(replace(noticed, late_allowed=True))
    assert broken_promises(allowed) == []
    assert allowed.late == 1


def test_a_result_that_is_called_late_and_is_not_breaks_the_order_too() -> None:
    history = sound(8)
    stored = [replace(history.stored[0], late=True), *history.stored[1:]]
    assert settle(replace(history, stored=stored, late_allowed=True)).disordered
