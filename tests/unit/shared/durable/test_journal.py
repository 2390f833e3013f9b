import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from support.durable_frames import STAMP, arrival, sealed, sealing
from support.durable_states import as_killed
from tercet.durable.bounds import Bounds
from tercet.durable.dead_letters import DeadLetterBox
from tercet.durable.journal import Arrival, Entry, Journal, Taken
from tercet.durable.settled import KEPT_RUNS
from tercet.errors import (
    FrameTooLargeError,
    InvariantError,
    LinkDownError,
    OverloadedError,
    PoisonError,
    SpecError,
    TensorContractError,
    UnavailableError,
)
from tercet.identifiers import NodeId
from tercet.limits import MAX_TENSOR_BYTES, MIB

BOUNDS = Bounds()
POISON = TensorContractError("tensor 'a' is not what the segment takes")
ALL = (0, 1_000_000, 1 << 40)


def opened(path: Path, bounds: Bounds = BOUNDS, max_tries: int = 3) -> Journal:
    return Journal.open(path, bounds, max_tries=max_tries, ballast_bytes=4096)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "node-1" / "journal.db"


def keys(entries: list[Entry]) -> list[tuple[str, int]]:
    return [(entry.node, entry.sequence) for entry in entries]


async def test_what_was_recorded_is_found_again_byte_for_byte(path: Path) -> None:
    async with opened(path) as journal:
        sequences = [await journal.record(sealing("d", bytes([place]) * 9000), STAMP) for place in range(3)]
    async with opened(path) as journal:
        entries = await journal.pending(*ALL)
    assert [entry.sealed for entry in entries] == [
        sealed("d", sequence, bytes([place]) * 9000) for place, sequence in enumerate(sequences)
    ]
    assert {(entry.node, entry.captured, entry.tries, entry.sends) for entry in entries} == {("d", STAMP, 0, 0)}


async def test_what_was_acknowledged_is_there_after_a_kill(path: Path, tmp_path: Path) -> None:
    async with opened(path) as journal:
        await journal.record(sealing("d"), STAMP)
        await journal.take([arrival("a", 1, 50_000)])
        left = as_killed(path.parent, tmp_path / "left")
    async with opened(left / path.name) as journal:
        assert [entry.node for entry in await journal.pending(*ALL)] == ["d", "a"]


async def test_sequences_count_from_one_and_are_never_used_again(path: Path) -> None:
    async with opened(path) as journal:
        first = await journal.record(sealing("d"), STAMP)
        await journal.handed_on([entry.position for entry in await journal.pending(*ALL)])
    async with opened(path) as journal:
        assert await journal.record(sealing("d"), STAMP) == first + 1
    assert first % (1 << 32) == 1
    assert first < 1 << 53


async def test_a_fresh_journal_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = set()
    for place in range(3):
        async with opened(tmp_path / f"{place}.db") as journal:
            epochs.add(await journal.record(sealing("d"), STAMP) >> 32)
    assert len(epochs) == 3


async def test_a_frame_sealed_for_another_sequence_is_a_bug_of_ours(path: Path) -> None:
    async with opened(path) as journal:
        with pytest.raises(InvariantError, match="says 7"):
            await journal.record(lambda sequence: sealed("d", 7), STAMP)


async def test_an_error_in_sealing_reaches_only_its_caller_and_uses_no_sequence(path: Path) -> None:
    def cannot(sequence: int) -> bytes:
        raise ValueError("no")

    async with opened(path) as journal:
        outcomes = await asyncio.gather(
            *(journal.record(cannot if place % 3 == 0 else sealing("d"), STAMP) for place in range(30)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [ValueError, int, int] * 10
        sequences = [outcome for outcome in outcomes if isinstance(outcome, int)]
        assert sequences == list(range(sequences[0], sequences[0] + 20))
        assert [entry.sequence for entry in await journal.pending(*ALL)] == sequences
        assert journal.held().frames == 20


async def test_arrivals_are_kept_in_the_order_of_the_calls(path: Path) -> None:
    async with opened(path) as journal:
        outcomes = await asyncio.gather(*(journal.take([arrival("a", place)]) for place in range(200)))
        assert outcomes == [[Taken.NEW]] * 200
        assert [entry.sequence for entry in await journal.pending(*ALL)] == list(range(200))


async def test_a_frame_that_is_held_is_a_duplicate(path: Path) -> None:
    async with opened(path) as journal:
        assert await journal.take([arrival("a", 5), arrival("a", 5), arrival("b", 5)]) == [
            Taken.NEW,
            Taken.DUPLICATE,
            Taken.NEW,
        ]
        assert journal.counters().deduplicated == 1
        assert journal.held().frames == 2


async def test_a_frame_that_was_handed_on_stays_a_duplicate(path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", sequence) for sequence in (4, 6, 5)])
        await journal.handed_on([entry.position for entry in await journal.pending(*ALL)])
        assert await journal.pending(*ALL) == []
    async with opened(path) as journal:
        outcomes = await journal.take([arrival("a", sequence) for sequence in range(3, 8)])
        assert outcomes == [Taken.NEW, *[Taken.DUPLICATE] * 3, Taken.NEW]
        assert await journal.take([arrival("b", 5)]) == [Taken.NEW]


async def test_what_is_known_of_frames_handed_on_does_not_grow_with_them(path: Path) -> None:
    async with opened(path) as journal:
        for _ in range(5):
            first = journal.counters().taken
            await journal.take([arrival("a", first + place) for place in range(50)])
            positions = [entry.position for entry in await journal.pending(*ALL)]
            random.Random(first).shuffle(positions)
            await journal.handed_on(positions)
        # One with a gap before it each time: more than are remembered.
        await journal.take([arrival("a", 1000 + 2 * place) for place in range(KEPT_RUNS + 5)])
        for entry in await journal.pending(*ALL):
            await journal.handed_on([entry.position])
        assert await journal.take([arrival("a", 1000 + 2 * (KEPT_RUNS + 4))]) == [Taken.DUPLICATE]
        assert await journal.take([arrival("a", 100)]) == [Taken.NEW]


async def test_a_sequence_that_no_number_holds_is_refused_alone(path: Path) -> None:
    async with opened(path) as journal:
        outcomes = await journal.take([arrival("a", 1 << 63), arrival("a", 1)])
        assert isinstance(outcomes[0], SpecError)
        assert outcomes[1] == Taken.NEW


async def test_pending_stays_within_its_limits_but_gives_one(path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", place, 10_000) for place in range(5)])
        first = await journal.pending(0, 2, 1 << 40)
        assert keys(first) == [("a", 0), ("a", 1)]
        assert keys(await journal.pending(first[-1].position, 9, 25_000)) == [("a", 2), ("a", 3)]
        assert keys(await journal.pending(first[-1].position, 9, 1)) == [("a", 2)]
        assert await journal.pending(first[-1].position + 3, 9, 1) == []


async def test_a_position_is_never_used_again(path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", 1)])
        (entry,) = await journal.pending(*ALL)
        await journal.handed_on([entry.position])
    async with opened(path) as journal:
        await journal.take([arrival("a", 2)])
        assert keys(await journal.pending(entry.position, 9, 9)) == [("a", 2)]


async def test_the_largest_frame_there_is_can_be_kept(path: Path) -> None:
    payload = random.Random(1).randbytes(MAX_TENSOR_BYTES)
    async with opened(path) as journal:
        await journal.record(sealing("d", payload), STAMP)
        await journal.take([arrival("a", 1)])
        (entry,) = await journal.pending(0, 1, 1)
        assert entry.sealed.endswith(payload)
        await journal.handed_on([entry.position])
        assert keys(await journal.pending(*ALL)) == [("a", 1)]


async def test_handing_on_twice_or_what_is_not_there_does_nothing(path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", 1), arrival("a", 2)])
        first = (await journal.pending(*ALL))[0].position
        await journal.handed_on([first, first, 999])
        await journal.handed_on([first])
        assert journal.counters().acknowledged == 1
        assert journal.held().frames == 1


async def test_counters_tell_what_happened_and_outlive_the_process(path: Path, tmp_path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", place) for place in range(4)])
        await journal.take([arrival("a", 0)])
        positions = [entry.position for entry in await journal.pending(*ALL)]
        await journal.sent(positions)
        await journal.sent(positions[:1])
        for _ in range(3):
            await journal.failed(positions[3], POISON)
        await journal.handed_on(positions[:2])
        assert (await journal.pending(*ALL))[0].sends == 1
        before = journal.counters()
        left = as_killed(path.parent, tmp_path / "left")
    async with opened(left / path.name) as journal:
        assert journal.counters() == before
    assert before.as_dict() == {
        "taken": 4,
        "sent": 5,
        "acknowledged": 2,
        "redelivered": 1,
        "deduplicated": 1,
        "expired": 0,
        "dead_lettered": 1,
    }


# --- tries


async def test_a_frame_that_fails_too_often_goes_aside_and_blocks_nobody(path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", 1), arrival("a", 2)])
        bad = (await journal.pending(*ALL))[0].position
        assert [await journal.failed(bad, POISON) for _ in range(3)] == [False, False, True]
        assert keys(await journal.pending(*ALL)) == [("a", 2)]
        assert await journal.take([arrival("a", 1)]) == [Taken.DUPLICATE]
        assert await journal.failed(bad, POISON) is False
        with DeadLetterBox(path, read_only=True) as box:
            (letter,) = box.letters()
            assert (letter.key, letter.tries, letter.error_kind) == ("a/1", 3, "TensorContractError")
            assert box.sealed(letter) == arrival("a", 1).sealed
        held = journal.held()
        assert (held.frames, held.dead_letters, held.dead_letter_bytes) == (1, 1, len(arrival("a", 1).sealed))


async def test_a_frame_that_has_ended_the_next_holders_process_as_often_as_may_be_is_not_sent_there_again(
    path: Path,
) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", 1)])
        (entry,) = await journal.pending(*ALL)
        assert await journal.failed(entry.position, PoisonError("3 times the process ended"))
        with DeadLetterBox(path, read_only=True) as box:
            assert [letter.error_kind for letter in box.letters()] == ["PoisonError"]


async def test_what_is_unavailable_is_never_the_frames_fault(path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", 1)])
        (entry,) = await journal.pending(*ALL)
        assert [await journal.failed(entry.position, LinkDownError("down")) for _ in range(5)] == [False] * 5
        assert (await journal.pending(*ALL))[0].tries == 0


async def test_a_try_that_the_process_did_not_survive_is_counted(path: Path, tmp_path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", place) for place in range(3)])
        places = [entry.position for entry in await journal.pending(*ALL)]
        await journal.began(places[:1])
        await journal.ended(places[:1])
        await journal.began(places[1:2])
        left = as_killed(path.parent, tmp_path / "left")
    async with opened(left / path.name) as journal:
        assert journal.suspects == {places[1]}
        assert [entry.tries for entry in await journal.pending(*ALL)] == [0, 1, 0]
        await journal.ended(places[1:2])
        assert [entry.tries for entry in await journal.pending(*ALL)] == [0, 0, 0]


async def test_frames_that_were_tried_together_are_suspects_without_a_try_counted(
    path: Path, tmp_path: Path
) -> None:
    """A process that is killed from outside, time after time, makes no frame a dead letter."""
    async with opened(path) as journal:
        await journal.take([arrival("a", place) for place in range(3)])
        left = path.parent
    for kill in range(5):
        async with opened(left / path.name) as journal:
            places = [entry.position for entry in await journal.pending(*ALL)]
            assert journal.suspects == (set(places) if kill else set())
            await journal.began(places)
            left = as_killed(left, tmp_path / f"left-{kill}")
    async with opened(left / path.name) as journal:
        assert [entry.tries for entry in await journal.pending(*ALL)] == [0, 0, 0]


async def test_a_frame_that_kills_the_process_is_put_aside_at_last(path: Path, tmp_path: Path) -> None:
    """Its company is cleared, one at a time."""
    async with opened(path) as journal:
        await journal.take([arrival("a", place) for place in range(3)])
        places = [entry.position for entry in await journal.pending(*ALL)]
        await journal.began(places)
        left = as_killed(path.parent, tmp_path / "left-0")
    for kill in range(1, 4):
        async with opened(left / path.name) as journal:
            assert places[1] in journal.suspects
            if kill == 1:
                await journal.began(places[:1])
                await journal.ended(places[:1])
            await journal.began(places[1:2])
            left = as_killed(left, tmp_path / f"left-{kill}")
    async with opened(left / path.name) as journal:
        assert keys(await journal.pending(*ALL)) == [("a", 0), ("a", 2)]
        # Never tried alone since: still a suspect.
        assert journal.suspects == {places[2]}
        assert journal.counters().dead_lettered == 1
        with DeadLetterBox(left / path.name, read_only=True) as box:
            assert "the process died 3 times" in box.letters()[0].error


# --- bounds


async def test_a_full_journal_refuses_the_newest_and_says_when_to_come_again(path: Path) -> None:
    one = len(arrival("a", 1, 1000).sealed)
    async with opened(path, Bounds(max_bytes=2 * one + 10)) as journal:
        outcomes = await journal.take([arrival("a", place, 1000) for place in range(4)])
        assert outcomes[:2] == [Taken.NEW] * 2
        assert all(isinstance(outcome, OverloadedError) and outcome.retry_after_s for outcome in outcomes[2:])
        with pytest.raises(OverloadedError, match="wait until the next holder"):
            await journal.record(sealing("d", bytes(1000)), STAMP)
        await journal.handed_on([(await journal.pending(0, 1, 1))[0].position])
        assert await journal.take([arrival("a", 2, 1000)]) == [Taken.NEW]


async def test_no_frame_overtakes_one_of_its_node_that_was_refused(path: Path) -> None:
    one = len(arrival("a", 1, 1000).sealed)
    async with opened(path, Bounds(max_bytes=one + 200)) as journal:
        outcomes = await journal.take(
            [
                arrival("a", 1, 1000),
                arrival("a", 2, 1000),
                arrival("a", 3, 1),
                arrival("a", 1, 1000),
                arrival("b", 1, 1),
            ]
        )
    assert [outcome if isinstance(outcome, Taken) else type(outcome) for outcome in outcomes] == [
        Taken.NEW,
        OverloadedError,
        OverloadedError,
        Taken.DUPLICATE,
        Taken.NEW,
    ]


async def test_a_frame_over_the_limit_never_fits(path: Path) -> None:
    async with opened(path, Bounds(max_bytes=500, policy="expire-oldest")) as journal:
        (outcome,) = await journal.take([arrival("a", 1, 1000)])
        assert isinstance(outcome, FrameTooLargeError)
        with pytest.raises(FrameTooLargeError):
            await journal.record(sealing("d", bytes(1000)), STAMP)


async def test_the_oldest_make_way_if_that_is_the_policy_and_are_counted(path: Path) -> None:
    one = len(arrival("a", 1, 1000).sealed)
    async with opened(path, Bounds(max_bytes=3 * one, policy="expire-oldest")) as journal:
        await journal.take([arrival("a", place, 1000) for place in range(5)])
        assert keys(await journal.pending(*ALL)) == [("a", 2), ("a", 3), ("a", 4)]
        assert journal.counters().expired == 2
        assert await journal.take([arrival("a", 0, 1000)]) == [Taken.DUPLICATE]


async def test_the_log_names_what_expired_in_one_line_a_commit(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = len(arrival("a", 1, 1000).sealed)
    async with opened(path, Bounds(max_bytes=2 * one, policy="expire-oldest")) as journal:
        sequences = (0, 1, 2, 5, 6, 7)
        await journal.take([arrival("a", sequence, 1000) for sequence in sequences])
    said = [record for record in caplog.records if record.message == "frames expired"]
    assert [(record.frames, record.which) for record in said] == [(4, "a/0-2 a/5")]  # type: ignore[attr-defined]
    assert said[0].why == f"the oldest of more than {2 * one} bytes"  # type: ignore[attr-defined]


async def test_the_dead_letter_box_has_a_limit_of_its_own(path: Path) -> None:
    one = len(arrival("a", 1, 1000).sealed)
    async with opened(path, Bounds(max_dead_letter_bytes=2 * one), max_tries=1) as journal:
        await journal.take([arrival("a", place, 1000) for place in range(4)])
        for entry in await journal.pending(*ALL):
            assert await journal.failed(entry.position, POISON)
        with DeadLetterBox(path, read_only=True) as box:
            assert [letter.sequence for letter in box.letters()] == [2, 3]
        counters = journal.counters()
        assert (counters.dead_lettered, counters.expired) == (4, 2)
        assert await journal.take([arrival("a", 0, 1000)]) == [Taken.DUPLICATE]


# --- one process, from opening to closing


def test_a_journal_is_served_by_one_process_at_a_time(path: Path) -> None:
    journal = opened(path)
    with pytest.raises(UnavailableError, match="is served by process"):
        opened(path)
    script = (
        "from pathlib import Path\nfrom tercet.durable.bounds import Bounds\n"
        "from tercet.durable.journal import Journal\nfrom tercet.errors import UnavailableError\n"
        f"try: Journal.open(Path({str(path)!r}), Bounds())\nexcept UnavailableError as error: print(error)"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert f"is served by process {os.getpid()}" in other.stdout
    asyncio.run(journal.close())
    asyncio.run(opened(path).close())


async def test_a_closed_journal_says_so_and_may_be_closed_again(path: Path) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", 1)])
    await journal.close()
    with pytest.raises(UnavailableError, match="closed"):
        await journal.record(sealing("d"), STAMP)
    with pytest.raises(UnavailableError, match="closed"):
        await journal.pending(*ALL)
    (outcome,) = await journal.take([arrival("a", 2)])
    assert isinstance(outcome, UnavailableError)


async def test_closing_commits_what_was_asked_for_and_leaves_one_file(path: Path) -> None:
    async with opened(path) as journal:
        asked = [asyncio.create_task(journal.take([arrival("a", place)])) for place in range(20)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*asked) == [[Taken.NEW]] * 20
    assert not path.with_name("journal.db-wal").exists()


async def test_a_cancelled_caller_leaves_a_whole_journal(path: Path) -> None:
    async with opened(path) as journal:
        tasks = [asyncio.create_task(journal.take([arrival("a", place)])) for place in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert Counter(map(type, outcomes)) == {asyncio.CancelledError: 20, list: 20}
        there = {entry.sequence for entry in await journal.pending(*ALL)}
        assert there >= set(range(1, 40, 2))
        assert journal.held().frames == len(there) == journal.counters().taken
        assert await journal.take([arrival("a", 100)]) == [Taken.NEW]


async def test_arrived_says_that_there_is_something(path: Path) -> None:
    async with opened(path) as journal:
        assert not journal.arrived.is_set()
        await journal.take([arrival("a", 1)])
        assert journal.arrived.is_set()
        journal.arrived.clear()
        await journal.take([arrival("a", 1)])
        assert not journal.arrived.is_set()
        await journal.record(sealing("d"), STAMP)
        assert journal.arrived.is_set()
    async with opened(path) as journal:
        assert journal.arrived.is_set()


async def test_a_frame_whose_bytes_are_damaged_holds_up_no_other(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as journal:
        await journal.take([arrival("a", 1), arrival("a", 2)])
        positions = [entry.position for entry in await journal.pending(*ALL)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE payloads SET sealed = x'00' WHERE position = ?", (positions[0],))
    async with opened(path) as journal:
        assert keys(await journal.pending(*ALL)) == [("a", 2)]
        assert "durable frames damaged" in caplog.text
        assert journal.held().frames == 2


def test_an_arrival_shows_no_payload() -> None:
    assert "sealed" not in repr(Arrival(NodeId("a"), 1, b"secret", STAMP))


async def test_the_log_stays_short_while_as_much_comes_as_goes(path: Path) -> None:
    async with Journal.open(path, BOUNDS) as journal:
        for sequence in range(30):
            entries = await journal.pending(*ALL)
            await asyncio.gather(
                journal.take([arrival("a", sequence, MIB)]),
                journal.handed_on([entry.position for entry in entries]),
            )
        assert path.with_name("journal.db-wal").stat().st_size < 8 * MIB
