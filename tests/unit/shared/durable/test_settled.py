import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tercet.durable.database import make_database, number
from tercet.durable.journal_tables import JOURNAL, fill_journal
from tercet.durable.settled import KEPT_RUNS, is_settled, runs, settle


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    make_database(tmp_path / "j.db", JOURNAL, fill_journal)
    with closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as open_one:
        yield open_one


def test_neighbours_make_a_run() -> None:
    assert runs([("b", 1), ("a", 3), ("a", 1), ("a", 2), ("a", 5), ("a", 2)]) == [
        ("a", 1, 3),
        ("a", 5, 5),
        ("b", 1, 1),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_exactly_what_was_settled_is_settled(connection: sqlite3.Connection, seed: int) -> None:
    source = random.Random(seed)
    told: set[tuple[str, int]] = set()
    for _ in range(30):
        some = {(source.choice("ab"), source.randrange(60)) for _ in range(source.randrange(1, 6))}
        told |= some
        settle(connection, some)
    for node in "abc":
        for sequence in range(-1, 62):
            assert is_settled(connection, node, sequence) == ((node, sequence) in told)
    assert number(connection, "SELECT count(*) FROM settled") == len(runs(told))


def test_a_million_frames_in_order_are_one_row(connection: sqlite3.Connection) -> None:
    for first in range(0, 1_000_000, 50_000):
        settle(connection, [("a", sequence) for sequence in range(first, first + 50_000)])
    assert connection.execute("SELECT node, first, last FROM settled").fetchall() == [("a", 0, 999_999)]


def test_of_too_many_runs_the_longest_untouched_are_forgotten(connection: sqlite3.Connection) -> None:
    for place in range(KEPT_RUNS):
        settle(connection, [("a", 10 * place)])
    settle(connection, [("a", 1)])
    settle(connection, [("a", 10 * KEPT_RUNS), ("b", 0)])
    assert [is_settled(connection, "a", sequence) for sequence in (0, 1, 10, 20)] == [True, True, False, True]
    assert is_settled(connection, "b", 0)
