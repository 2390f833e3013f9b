"""A journal's life in small: frames recorded, taken, tried, buried, retried and handed on, by many callers at once.

Option `unsynced`: with synchronous=OFF, to show that the test finds what that loses.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from crash.recorded import Mark
from support.durable_frames import STAMP, arrival, sealed
from tercet.durable import database, group_commit
from tercet.durable.bounds import Bounds
from tercet.durable.counters import Counters
from tercet.durable.dead_letters import DeadLetterBox
from tercet.durable.journal import Entry, Journal, Taken
from tercet.errors import SpecError, TercetError

FILE = "journal.db"
BALLAST_BYTES = 200_000
OWN = "own"
OTHERS = ("a", "b")
ROUNDS = 6
SESSIONS = 2
SIZES = (10, 900, 5_000, 30_000)
Key = tuple[str, int]
Tell = Callable[[Mark], None]


def run(folder: Path, seed: int, mark: Tell, options: Sequence[str]) -> None:
    if "unsynced" in options:
        database.SYNCHRONOUS = "OFF"
    # So often that a short life has many of them.
    group_commit.CHECKPOINT_BYTES = 100_000
    group_commit.KEPT_FREE_PAGES = 4
    group_commit.POLL_S = 0.02
    life = _Life(folder / FILE, random.Random(seed), seed, mark)
    for _ in range(SESSIONS):
        asyncio.run(life.session())


class _Life:
    """What happens, by one seed."""

    def __init__(self, path: Path, source: random.Random, seed: int, mark: Tell) -> None:
        self._path, self._source, self._seed, self._mark = path, source, seed, mark
        self._next = dict.fromkeys(OTHERS, 1)
        self._tokens = 0

    async def session(self) -> None:
        async with Journal.open(self._path, Bounds(), ballast_bytes=BALLAST_BYTES) as journal:
            for _ in range(ROUNDS):
                await asyncio.gather(*(self._record(journal) for _ in range(self._source.randint(1, 4))))
                await asyncio.gather(*(self._take(journal, node) for node in OTHERS))
                await self._hand_on(journal)
                if self._source.random() < 0.5:
                    await asyncio.to_thread(self._retry)
                self._mark({"counters": journal.counters().as_dict()})
                await asyncio.sleep(self._source.choice((0, 0.03)))

    async def _record(self, journal: Journal) -> None:
        self._tokens += 1
        token, size_bytes = self._tokens, self._source.choice(SIZES)
        sequence = await journal.record(lambda sequence: own_frame(self._seed, token, size_bytes, sequence), STAMP)
        self._mark({"recorded": [token, size_bytes, sequence]})

    async def _take(self, journal: Journal, node: str) -> None:
        first = self._next[node]
        repeats = self._source.randint(0, min(2, first - 1))
        sizes = {first + step: self._source.choice(SIZES) for step in range(self._source.randint(1, 5))}
        self._next[node] = first + len(sizes)
        self._mark({"offering": [node, sizes]})
        arrivals = [arrival(node, sequence, size, seed=self._seed) for sequence, size in sizes.items()]
        # What came before comes again: whatever became of it, it is known.
        again = [arrival(node, first - 1 - step, 10, seed=self._seed) for step in range(repeats)]
        outcomes = await journal.take([*again, *arrivals])
        if outcomes != [Taken.DUPLICATE] * len(again) + [Taken.NEW] * len(arrivals):
            raise AssertionError(f"{outcomes}")
        self._mark({"taken": [node, list(sizes)]})

    async def _hand_on(self, journal: Journal) -> None:
        entries = await journal.pending(0, self._source.randint(1, 8), 60_000)
        positions = [entry.position for entry in entries]
        await journal.began(positions)
        poison = [entry for entry in entries if self._source.random() < 0.15]
        for entry in poison:
            self._mark({"failing": [entry.node, entry.sequence]})
            if await journal.failed(entry.position, SpecError("by its own fault")):
                self._mark({"dead": [entry.node, entry.sequence]})
        good = [entry for entry in entries if entry not in poison]
        await journal.ended([entry.position for entry in good])
        await journal.sent([entry.position for entry in good])
        going = [entry for entry in good if self._source.random() < 0.8]
        self._mark({"handing": [[entry.node, entry.sequence] for entry in going]})
        await journal.handed_on([entry.position for entry in going])
        self._mark({"handed": [[entry.node, entry.sequence] for entry in going]})

    def _retry(self) -> None:
        with DeadLetterBox(self._path, read_only=False) as box:
            for letter in box.letters():
                self._mark({"retrying": [letter.node, letter.sequence]})
                box.retry(letter)
                self._mark({"retried": [letter.node, letter.sequence]})


def own_frame(seed: int, token: int, size_bytes: int, sequence: int) -> bytes:
    return sealed(OWN, sequence, random.Random(f"{seed}/{token}").randbytes(size_bytes))


class _World:
    """What those outside know: told frames by key, and what has become of them."""

    def __init__(self, seed: int, marks: Sequence[Mark]) -> None:
        self.bytes: dict[Key, bytes] = {}
        self.offered: dict[Key, bytes] = {}
        self.acknowledged: list[Key] = []
        # Somebody was told to change this; told that it has changed.
        self.handing: set[Key] = set()
        self.handed: set[Key] = set()
        self.dead: set[Key] = set()
        self.retrying: set[Key] = set()
        self.counters = Counters()
        for mark in marks:
            ((what, told),) = mark.items()
            if what == "offering":
                node, sizes = told
                for text, size in sizes.items():
                    self.offered[node, int(text)] = arrival(node, int(text), size, seed=seed).sealed
            elif what == "recorded":
                token, size_bytes, sequence = told
                key = (OWN, sequence)
                self.offered[key] = own_frame(seed, token, size_bytes, sequence)
                self.acknowledged.append(key)
            elif what == "taken":
                self.acknowledged.extend((told[0], sequence) for sequence in told[1])
            elif what == "handing":
                self.handing.update(map(_key, told))
            elif what == "handed":
                self.handed.update(map(_key, told))
            elif what == "dead":
                self.dead.add(_key(told))
            elif what == "retrying":
                self.retrying.add(_key(told))
                self.dead.discard(_key(told))
            elif what == "counters":
                self.counters = Counters(**told)


def _key(pair: Sequence[str | int]) -> Key:
    return str(pair[0]), int(pair[1])


def check(folder: Path, seed: int, marks: Sequence[Mark]) -> list[str]:
    world = _World(seed, marks)
    try:
        return asyncio.run(_check(folder / FILE, world))
    except TercetError as error:
        return [f"does not open: {type(error).__name__}: {error}"]


async def _check(path: Path, world: _World) -> list[str]:
    broken: list[str] = []
    async with Journal.open(path, Bounds(), ballast_bytes=BALLAST_BYTES) as journal:
        waiting = await journal.pending(0, 1_000_000, 1 << 40)
        with DeadLetterBox(path, read_only=True) as box:
            dead = {(str(letter.node), letter.sequence): box.sealed(letter) for letter in box.letters()}
        broken += _compare(waiting, dead, world)
        broken += _count(journal.counters(), len(waiting) + len(dead), world)
        sequence = await journal.record(lambda sequence: sealed(OWN, sequence), STAMP)
        if any(key[0] == OWN and key[1] >= sequence for key in world.acknowledged):
            broken.append(f"sequence {sequence} was used before")
    with closing(sqlite3.connect(path)) as connection:
        findings = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return broken + [f"integrity: {finding}" for finding in findings if finding != "ok"]


def _compare(waiting: Sequence[Entry], dead: dict[Key, bytes], world: _World) -> list[str]:
    broken: list[str] = []
    there = {(str(entry.node), entry.sequence): entry.sealed for entry in waiting} | dead
    for key in world.acknowledged:
        if key not in there and key not in world.handing:
            broken.append(f"{key} was acknowledged and is lost")
        elif key in there and key in world.handed:
            broken.append(f"{key} was handed on and is back")
    broken += [f"{key} was dead and is not" for key in sorted(world.dead - set(dead))]
    for node in (OWN, *OTHERS):
        # What was retried has gone behind the others.
        order = [entry.sequence for entry in waiting if entry.node == node]
        order = [sequence for sequence in order if (node, sequence) not in world.retrying]
        if order != sorted(order):
            broken.append(f"{node} is out of order: {order}")
    for key, found in there.items():
        # A frame of our own that nobody was told of yet has bytes that nobody outside knows.
        if key not in world.offered and key[0] != OWN:
            broken.append(f"{key} was never offered")
        elif key in world.offered and found != world.offered[key]:
            broken.append(f"{key} has other bytes")
    if len(there) != len(waiting) + len(dead):
        broken.append("a frame is there twice")
    return broken


def _count(counters: Counters, held: int, world: _World) -> list[str]:
    now, told = counters.as_dict(), world.counters.as_dict()
    broken = [f"{name} was {told[name]}, is {now[name]}" for name in now if now[name] < told[name]]
    if counters.taken != held + counters.acknowledged + counters.expired:
        broken.append(f"{held} held do not account for {counters}")
    return broken
