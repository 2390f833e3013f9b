"""A result store's life in small: results of two devices recorded in calls, brought again, begun, expired.

Two writers take turns, as replicas do. Option `unsynced`: with synchronous=OFF, to show that the test finds what
that loses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event

from crash.recorded import Mark
from tercet.durable.capture_time import AgeSource
from tercet.errors import TercetError
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.reading import ResultReader
from tercet_cloud.results.result import Result, ResultKey, Stored
from tercet_cloud.results.store import ResultStore

FILE = "results.db"
NODES = ("a", "b")
CALLS = 14
SIZES = (10, 900, 5_000, 30_000)
MINUTE_US = 60_000_000
Key = tuple[str, int]
Tell = Callable[[Mark], None]


def run(folder: Path, seed: int, mark: Tell, options: Sequence[str]) -> None:
    with _store(folder, "unsynced" in options) as one, _store(folder, "unsynced" in options) as other:
        life = _Life((one, other), random.Random(seed), seed, mark)
        for number in range(CALLS):
            life.call(number)


class _Life:
    """What happens, by one seed. A call is so many minutes old as it has followers."""

    def __init__(
        self, stores: tuple[ResultStore, ResultStore], source: random.Random, seed: int, mark: Tell
    ) -> None:
        self._stores, self._source, self._seed, self._mark = stores, source, seed, mark
        self._next = dict.fromkeys(NODES, 1)
        self._made: list[Result] = []

    def call(self, number: int) -> None:
        store = self._source.choice(self._stores)
        fresh = []
        for node in NODES:
            for _ in range(self._source.randint(0, 4)):
                fresh.append(_result(self._seed, node, self._next[node], number))
                self._next[node] += 1
        again = self._source.sample(self._made, min(len(self._made), self._source.randint(0, 3)))
        begun = [result.key for result in fresh[:2]]
        if begun:
            store.began(begun)
            self._mark({"begun": [list(key) for key in begun]})
        self._mark({"offering": [[*result.key, number] for result in fresh]})
        outcomes = store.record([*again, *fresh], ended=begun)
        if outcomes != [Stored.DUPLICATE] * len(again) + [Stored.NEW] * len(fresh):
            raise AssertionError(f"{outcomes}")
        self._mark({"stored": [list(result.key) for result in fresh]})
        self._made += fresh
        if number % 5 == 4:
            self._mark({"expiring": number - 3})
            store.expire((number - 3) * MINUTE_US)
            self._mark({"expired": number - 3})


def check(folder: Path, seed: int, marks: Sequence[Mark]) -> list[str]:
    try:
        with _store(folder) as store:
            return _check(store, folder, seed, marks)
    except TercetError as error:
        return [f"does not open: {type(error).__name__}: {error}"]


def _check(store: ResultStore, folder: Path, seed: int, marks: Sequence[Mark]) -> list[str]:
    store.prepare()
    there = _read(folder)
    made: dict[Key, int] = {}
    stored: list[Key] = []
    expiring, expired = 0, 0
    for mark in marks:
        ((what, told),) = mark.items()
        if what == "offering":
            made.update({(node, sequence): number for node, sequence, number in told})
        elif what == "stored":
            stored += [(node, sequence) for node, sequence in told]
        elif what == "expiring":
            expiring = told
        elif what == "expired":
            expired = told
    broken = [f"{key} was stored and is lost" for key in stored if key not in there and made[key] >= expiring]
    broken += [f"{key} was given up and is back" for key in there if made.get(key, 0) < expired]
    for key, outputs in there.items():
        if key not in made:
            broken.append(f"{key} was never offered")
        elif outputs != _result(seed, *key, made[key]).outputs:
            broken.append(f"{key} has other outputs")
    # A repeat has no effect, also that of a result that was given up.
    again = [_result(seed, *key, made[key]) for key in stored]
    for result, outcome in zip(again, store.record(again), strict=True):
        if outcome is not Stored.DUPLICATE:
            broken.append(f"{tuple(result.key)} was stored a second time")
    tallies = store.tallies()
    if tallies.taken != tallies.held_frames + tallies.expired or tallies.held_frames != len(_read(folder)):
        broken.append(f"{len(_read(folder))} results do not account for {tallies}")
    return broken


def _read(folder: Path) -> dict[Key, bytes]:
    database = _database(folder)
    try:
        return {tuple(stored.key): stored.outputs for stored in ResultReader(database).in_order(outputs=True)}
    finally:
        database.close()


def _result(seed: int, node: str, sequence: int, number: int) -> Result:
    source = random.Random(f"{seed}/{node}/{sequence}")
    return Result(
        key=ResultKey(node, sequence),
        model="m@0123456789ab",
        plan="p",
        outputs=source.randbytes(source.choice(SIZES)),
        captured_unix_us=number * MINUTE_US,
        age_source=AgeSource.MONOTONIC,
        received_unix_us=number * MINUTE_US,
    )


def _database(folder: Path) -> Database:
    return Database(DatabaseUrl.parse(sqlite_url(folder / FILE), "--results"))


@contextmanager
def _store(folder: Path, unsynced: bool = False):  # type: ignore[no-untyped-def]
    database = _database(folder)
    if unsynced:
        event.listen(
            database._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
        )
    try:
        yield ResultStore(database)
    finally:
        database.close()
