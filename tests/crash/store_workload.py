"""A result store's life in small, in a file: results stored, repeated, marked, counted and given up.

Option `unsynced`: with synchronous=OFF, to show that the test finds what that loses.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import event

from crash.recorded import Mark
from tercet.durable.capture_time import AgeSource
from tercet.errors import TercetError
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.reading import ResultReader
from tercet_cloud.results.result import Result, ResultKey, Stored, Tallies
from tercet_cloud.results.store import ResultStore

FILE = "results.db"
NODES = ("a", "b", "c")
SESSIONS, ROUNDS = 2, 10
SIZES = (10, 900, 5_000, 30_000)
EPOCH = 7 << 32
Tell = Callable[[Mark], None]


def run(folder: Path, seed: int, mark: Tell, options: Sequence[str]) -> None:
    life = _Life(random.Random(seed), seed, mark)
    for _ in range(SESSIONS):
        database = opened(folder)

        @event.listens_for(database._engine, "connect")
        def configure(connection: sqlite3.Connection, _: object) -> None:
            # So often that a short life has many of them.
            connection.execute("PRAGMA wal_autocheckpoint=20")
            if "unsynced" in options:
                connection.execute("PRAGMA synchronous=OFF")

        life.session(ResultStore(database))
        database.close()


def opened(folder: Path) -> Database:
    return Database(DatabaseUrl.parse(sqlite_url(folder / FILE), "--results"))


def result(seed: int, node: str, sequence: int, received: int) -> Result:
    source = random.Random(f"{seed}/{node}/{sequence}")
    outputs = source.randbytes(source.choice(SIZES))
    return Result(
        ResultKey(node, sequence), "tiny@0123456789ab", "raw", outputs, received, AgeSource.MONOTONIC, received
    )


class _Life:
    """What happens, by one seed. Results are received at times 1, 2, 3…"""

    def __init__(self, source: random.Random, seed: int, mark: Tell) -> None:
        self._source, self._seed, self._mark = source, seed, mark
        self._next = dict.fromkeys(NODES, EPOCH + 1)
        self._time = 0

    def session(self, store: ResultStore) -> None:
        for _ in range(ROUNDS):
            self._record(store)
            if self._source.random() < 0.2:
                self._mark({"expiring": self._time // 2})
                store.expire(self._time // 2)
            self._mark({"tallies": vars(store.tallies())})

    def _record(self, store: ResultStore) -> None:
        batch: list[ResultKey] = []
        expected: list[Stored] = []
        for node in self._source.sample(NODES, self._source.randint(1, len(NODES))):
            first = self._next[node]
            repeats = self._source.randint(0, min(2, first - EPOCH - 1))
            fresh = self._source.randint(1, 5)
            batch += [ResultKey(node, first - repeats + step) for step in range(repeats + fresh)]
            expected += [Stored.DUPLICATE] * repeats + [Stored.NEW] * fresh
            self._next[node] = first + fresh
        self._time += 1
        if marked := self._source.random() < 0.3:
            store.began(batch)
            self._mark({"began": batch})
        self._mark({"offering": batch})
        results = [result(self._seed, *key, self._time) for key in batch]
        if store.record(results, ended=batch if marked else ()) != expected:
            raise AssertionError(f"{expected}")
        self._mark({"stored": [*([key.node, key.sequence, self._time] for key in batch)]})


class _World:
    """What those outside know."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self.offered: set[ResultKey] = set()
        self.stored: dict[ResultKey, int] = {}
        self.begun: set[ResultKey] = set()
        self.expiring = 0
        self.tallies = Tallies()
        for mark in marks:
            ((what, told),) = mark.items()
            if what == "offering":
                self.offered.update(ResultKey(*key) for key in told)
                self.begun.difference_update(self.offered)
            elif what == "stored":
                for node, sequence, time in told:
                    self.stored.setdefault(ResultKey(node, sequence), time)
            elif what == "began":
                self.begun.update(ResultKey(*key) for key in told)
            elif what == "expiring":
                self.expiring = told
            elif what == "tallies":
                self.tallies = Tallies(**told)


def check(folder: Path, seed: int, marks: Sequence[Mark]) -> list[str]:
    database = opened(folder)
    try:
        return _check(database, folder / FILE, seed, _World(marks))
    except TercetError as error:
        return [f"does not open: {type(error).__name__}: {error}"]
    finally:
        database.close()


def _check(database: Database, path: Path, seed: int, world: _World) -> list[str]:
    store = ResultStore(database)
    store.prepare()
    there = {one.key: one for one in ResultReader(database).in_order(outputs=True)}
    broken = [
        f"{key} was stored and is lost"
        for key, time in world.stored.items()
        if key not in there and time >= world.expiring
    ]
    for key, one in there.items():
        if key not in world.offered:
            broken.append(f"{key} was never offered")
        elif one.outputs != result(seed, *key, 0).outputs:
            broken.append(f"{key} has other bytes")
    positions = [one.position for one in there.values()]
    if positions != list(range(positions[0], positions[0] + len(positions)) if positions else ()):
        broken.append(f"positions have gaps or repeats: {positions}")
    broken += _count(store, len(there), world)
    if world.begun and not world.begun <= set(store.look_up(world.begun).tries):
        broken.append("a mark is gone")
    if world.stored:
        again = store.record([result(seed, *key, 10**6) for key in world.stored])
        if set(again) != {Stored.DUPLICATE}:
            broken.append("a result that was stored, or expired since, was stored again")
    with closing(sqlite3.connect(path)) as connection:
        findings = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return broken + [f"integrity: {finding}" for finding in findings if finding != "ok"]


def _count(store: ResultStore, held: int, world: _World) -> list[str]:
    now, told = store.tallies(), world.tallies
    broken = [
        f"{name} was {getattr(told, name)}, is {getattr(now, name)}"
        for name in ("taken", "deduplicated", "expired")
        if getattr(now, name) < getattr(told, name)
    ]
    if not now.taken - now.expired == now.held_frames == held:
        broken.append(f"{held} held do not account for {now}")
    return broken
