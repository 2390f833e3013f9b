import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tercet.durable import database
from tercet.durable.ballast import DiskRoom
from tercet.durable.database import connect, make_database
from tercet.durable.group_commit import GroupCommit
from tercet.durable.journal_tables import JOURNAL, fill_journal
from tercet.durable.ledger import Ledger
from tercet.errors import InvariantError, OverloadedError, SpecError, UnavailableError
from tercet.limits import MIB


@dataclass
class Served:
    """A writer whose statements are noted, and which can be made to wait."""

    path: Path
    commits: GroupCommit
    statements: list[str] = field(default_factory=list)
    changes: int = 0

    def count(self, name: str = "taken") -> Callable[[sqlite3.Connection, Ledger], int]:
        def work(connection: sqlite3.Connection, ledger: Ledger) -> int:
            ledger.count(name)
            return threading.get_ident()

        return work

    def transactions(self) -> int:
        return self.statements.count("COMMIT")


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(database, "BUSY_S", 0.2)
    path = tmp_path / "j.db"
    make_database(path, JOURNAL, fill_journal)
    connection = connect(path)

    def changed() -> None:
        one.changes += 1

    commits = GroupCommit(path, connection, DiskRoom(path, 0), on_change=changed, on_end=lambda: None)
    one = Served(path, commits)
    connection.set_trace_callback(one.statements.append)
    commits.start()
    yield one
    await commits.stop()


async def test_many_callers_share_few_transactions(served: Served) -> None:
    threads = await asyncio.gather(*(served.commits.run(served.count()) for _ in range(500)))
    assert len(set(threads)) == 1
    assert served.commits.ledger.published.counters.taken == 500
    assert served.transactions() < 50


async def test_an_error_undoes_its_own_request_and_no_other(served: Served) -> None:
    def bad(connection: sqlite3.Connection, ledger: Ledger) -> None:
        ledger.count("expired", 100)
        connection.execute("INSERT INTO settled (node, first, last) VALUES ('bad', 1, 1)")
        raise SpecError("no")

    def clash(connection: sqlite3.Connection, ledger: Ledger) -> None:
        connection.execute("INSERT INTO counters VALUES ('taken', 1)")

    outcomes = await asyncio.gather(
        *(served.commits.run(work) for work in (served.count(), bad, served.count(), clash, served.count())),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [int, SpecError, int, InvariantError, int]
    counters = served.commits.ledger.published.counters
    assert (counters.taken, counters.expired) == (3, 0)
    rows = await served.commits.run(
        lambda connection, ledger: connection.execute("SELECT count(*) FROM settled").fetchone()[0]
    )
    assert rows == 0


async def test_what_nobody_waits_for_is_committed_before_what_is_asked_later(served: Served) -> None:
    served.commits.run_later(lambda connection, ledger: ledger.count("sent"))
    assert served.commits.ledger.published.counters.sent == 0
    await served.commits.run(served.count())
    counters = served.commits.ledger.published.counters
    assert (counters.sent, counters.taken) == (1, 1)
    assert served.transactions() == 1


async def test_what_nobody_waits_for_is_committed_soon_all_the_same(served: Served) -> None:
    served.commits.run_later(lambda connection, ledger: ledger.count("sent"))
    async with asyncio.timeout(10):
        while served.commits.ledger.published.counters.sent == 0:
            await asyncio.sleep(0.01)


async def test_too_many_who_wait_are_refused_at_once_but_not_what_makes_room(served: Served) -> None:
    gate = threading.Event()

    def wait(connection: sqlite3.Connection, ledger: Ledger) -> None:
        gate.wait(30)

    def refuse(connection: sqlite3.Connection, ledger: Ledger) -> int:
        raise OverloadedError("full")

    blocked = asyncio.create_task(served.commits.run(wait))
    while "SAVEPOINT request" not in served.statements:
        await asyncio.sleep(0.001)
    tasks = [
        asyncio.create_task(served.commits.run(served.count(), without_room=refuse, size_bytes=30 * MIB))
        for _ in range(6)
    ]
    making_room = asyncio.create_task(served.commits.run(served.count("acknowledged")))
    await asyncio.sleep(0.01)
    refused = [task for task in tasks if task.done()]
    assert len(refused) == 2
    assert all(isinstance(task.exception(), OverloadedError) for task in refused)
    gate.set()
    await asyncio.gather(blocked, making_room, *(task for task in tasks if task not in refused))
    assert served.commits.ledger.published.counters.taken == 4


async def test_who_has_given_up_before_the_start_is_not_served(served: Served) -> None:
    gate = threading.Event()
    blocked = asyncio.create_task(served.commits.run(lambda connection, ledger: bool(gate.wait(30))))
    while "SAVEPOINT request" not in served.statements:
        await asyncio.sleep(0.001)
    given_up = asyncio.create_task(served.commits.run(served.count()))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await blocked
    await served.commits.run(served.count("sent"))
    counters = served.commits.ledger.published.counters
    assert (counters.taken, counters.sent) == (0, 1)


async def test_another_process_that_writes_is_noticed(served: Served) -> None:
    other = connect(served.path)
    other.execute("UPDATE counters SET value = 7 WHERE name = 'expired'")
    other.close()
    async with asyncio.timeout(10):
        while not served.changes:
            await asyncio.sleep(0.01)
    assert served.commits.ledger.published.counters.expired == 7
    await served.commits.run(served.count("expired"))
    assert served.commits.ledger.published.counters.expired == 8


async def test_another_process_that_keeps_the_file_locked_is_said(served: Served) -> None:
    other = connect(served.path)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(UnavailableError, match="locked by another process"):
            await served.commits.run(served.count())
    finally:
        other.execute("ROLLBACK")
        other.close()
    await served.commits.run(served.count())
    assert served.commits.ledger.published.counters.taken == 1
