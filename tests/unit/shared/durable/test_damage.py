"""What is damaged is said to be, and never replaced by an empty journal."""

import random
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.durable_frames import arrival
from tercet.durable.bounds import Bounds
from tercet.durable.database import PAGE_BYTES
from tercet.durable.journal import Journal
from tercet.errors import IntegrityError, SpecError, TercetError

FRAMES = 60


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A journal that was used and closed."""
    path = tmp_path / "journal.db"
    async with Journal.open(path, Bounds(), ballast_bytes=0) as journal:
        await journal.take([arrival("a", place, 6000) for place in range(FRAMES)])
    return path


def refused(path: Path, kind: type[TercetError]) -> str:
    """What opening says; the files are as they were."""
    before = {file.name: file.read_bytes() for file in path.parent.glob("journal.db*") if "-shm" not in file.name}
    with pytest.raises(kind) as refusal:
        Journal.open(path, Bounds(), ballast_bytes=0)
    after = {file.name: file.read_bytes() for file in path.parent.glob("journal.db*") if "-shm" not in file.name}
    assert after.get(path.name) == before.get(path.name)
    text = str(refusal.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_an_empty_file_is_damage_and_no_new_journal(path: Path) -> None:
    path.write_bytes(b"")
    assert "it is empty" in refused(path, IntegrityError)


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    assert "move it and journal.db-wal away" in refused(path, IntegrityError)


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE frames (position INTEGER PRIMARY KEY)")
    assert "not a file of this kind" in refused(path, IntegrityError)


def test_a_garbled_header_is_refused(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(100))
    refused(path, IntegrityError)


@pytest.mark.parametrize("pages", [1, 7])
def test_a_file_cut_short_is_refused(path: Path, pages: int) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - pages * PAGE_BYTES)
    assert re.search(r"cut short|malformed", refused(path, IntegrityError))


@pytest.mark.parametrize("table", ["frames", "settled", "dead_letters", "counters", "own"])
def test_a_garbled_table_is_refused(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(random.Random(1).randbytes(PAGE_BYTES))
    refused(path, IntegrityError)


def test_a_lost_index_entry_is_found(path: Path) -> None:
    """Else a repeat of that frame would be taken as new."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'frames' AND type = 'index'"
        ).fetchone()
    data = bytearray(path.read_bytes())
    start = (page - 1) * PAGE_BYTES
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    data[start + 3 : start + 5] = (cells - 1).to_bytes(2, "big")
    path.write_bytes(data)
    refused(path, IntegrityError)


def test_a_log_without_its_file_is_no_new_journal(path: Path) -> None:
    path.with_name("journal.db-wal").write_bytes(b"something")
    path.unlink()
    assert "is missing, but its log" in refused(path, IntegrityError)


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    assert "version 99" in refused(path, SpecError)


async def test_a_copy_beside_the_damage_serves_on(path: Path) -> None:
    """What the message asks for is enough."""
    kept = path.with_name("kept.db")
    shutil.copy(path, kept)
    path.write_bytes(b"garbage")
    refused(path, IntegrityError)
    path.unlink()
    async with Journal.open(path, Bounds(), ballast_bytes=0) as journal:
        assert journal.held().frames == 0
    async with Journal.open(kept, Bounds(), ballast_bytes=0) as journal:
        assert journal.held().frames == FRAMES


async def test_damage_met_while_serving_is_said_to_every_caller(path: Path) -> None:
    async with Journal.open(path, Bounds(), ballast_bytes=0) as journal:
        with path.open("r+b") as file:
            file.seek(PAGE_BYTES)
            file.write(random.Random(1).randbytes(path.stat().st_size - PAGE_BYTES))
        outcomes = []
        for sequence in range(FRAMES, FRAMES + 3):
            with pytest.raises(IntegrityError) as refusal:
                await journal.take([arrival("a", sequence)])
            outcomes.append(str(refusal.value))
        assert all(str(path) in outcome for outcome in outcomes)
