"""What Tercet asks of the database under its results, of SQLite and of PostgreSQL where it is installed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from support.postgres import PrivatePostgres
from tercet.durable.capture_time import AgeSource
from tercet.errors import InvariantError, NotFoundError, OverloadedError, SettingsError, UnavailableError
from tercet_cloud import database as database_module
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.reading import ResultReader
from tercet_cloud.results.result import Result, ResultKey, Stored
from tercet_cloud.results.store import ResultStore

TESTS = Path(__file__).parents[1]
NEW, DUPLICATE = Stored.NEW, Stored.DUPLICATE
DAY_US = 24 * 3600 * 1_000_000
_opened: list[Database] = []


@pytest.fixture
def store(url: str) -> ResultStore:
    return ResultStore(database_at(url))


@pytest.fixture(autouse=True)
def close_databases() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def database_at(url: str) -> Database:
    """Closed when the test ends."""
    _opened.append(Database(DatabaseUrl.parse(url, "--results")))
    return _opened[-1]


def result(node: str, sequence: int, *, received_unix_us: int = 1000 * DAY_US, outputs: bytes = b"out") -> Result:
    return Result(
        key=ResultKey(node, sequence),
        model="tiny@0123456789ab",
        plan="raw",
        outputs=outputs,
        captured_unix_us=received_unix_us - 5_000_000,
        age_source=AgeSource.MONOTONIC,
        received_unix_us=received_unix_us,
        degraded=True,
        reason="edge away",
        label="tabby ☃",
        confidence=0.5,
    )


def sequences(url: str, node: str | None = None) -> list[int]:
    return [stored.key.sequence for stored in ResultReader(database_at(url)).in_order(node=node)]


def test_a_result_comes_back_as_it_was_stored(store: ResultStore, url: str) -> None:
    outputs = bytes(range(256)) * 1000
    assert store.record([result("cam-1", 2**53 - 1, outputs=outputs)]) == [NEW]
    stored = ResultReader(database_at(url)).one(ResultKey("cam-1", 2**53 - 1))
    assert (stored.outputs, stored.size_bytes) == (outputs, len(outputs))
    assert (stored.label, stored.confidence, stored.age_source) == ("tabby ☃", 0.5, AgeSource.MONOTONIC)
    assert (stored.degraded, stored.reason, stored.late, stored.position) == (True, "edge away", False, 1)
    assert stored.received_unix_us - stored.captured_unix_us == 5_000_000


def test_each_key_has_one_effect_whoever_brings_it(store: ResultStore, url: str) -> None:
    batch = [result("cam-1", 1), result("cam-2", 1), result("cam-1", 2)]
    assert store.record(batch) == [NEW] * 3
    assert store.record([batch[0], result("cam-1", 3), result("cam-1", 3)]) == [DUPLICATE, NEW, DUPLICATE]
    assert ResultStore(database_at(url)).record(batch) == [DUPLICATE] * 3
    assert sequences(url, "cam-1") == [1, 2, 3]
    tallies = store.tallies()
    assert (tallies.taken, tallies.deduplicated, tallies.held_frames) == (4, 5, 4)
    assert tallies.held_bytes == 4 * len(b"out")


def test_what_is_known_is_told_before_computing(store: ResultStore) -> None:
    store.record([result("cam-1", 1), result("cam-2", 2)])
    known = store.look_up([ResultKey("cam-1", 1), ResultKey("cam-1", 2), ResultKey("cam-2", 2)])
    assert known.stored == {("cam-1", 1), ("cam-2", 2)}
    assert known.tries == {}


def test_later_before_earlier_is_counted_and_still_read_in_order(store: ResultStore, url: str) -> None:
    epoch = 1 << 32
    store.record([result("cam-1", 1), result("cam-1", 4), result("cam-1", 3)])
    store.record([result("cam-1", 2), result("cam-2", 1), result("cam-1", 5)])
    # A device with a fresh disk counts anew: nothing of that is late.
    store.record([result("cam-1", 7 * epoch + 1), result("cam-1", 3 * epoch + 1), result("cam-1", 7 * epoch + 2)])
    reader = ResultReader(database_at(url))
    assert [stored.key.sequence for stored in reader.in_order() if stored.late] == [3, 2]
    assert store.tallies().out_of_order == 2
    assert sequences(url, "cam-1")[:5] == [1, 2, 3, 4, 5]
    assert [stored.position for stored in reader.in_order()] == list(range(1, 10))


def test_a_transaction_that_fails_leaves_nothing(store: ResultStore, url: str) -> None:
    store.record([result("cam-1", 1)])
    impossible = replace(result("cam-1", 3), model=None)  # type: ignore[arg-type]
    with pytest.raises(InvariantError):
        store.record([result("cam-1", 2), impossible])
    assert sequences(url) == [1]
    assert store.tallies().taken == 1
    assert store.record([result("cam-1", 2)]) == [NEW]


def test_marks_survive_until_their_try_is_over(store: ResultStore, url: str) -> None:
    keys = [ResultKey("cam-1", 1), ResultKey("cam-1", 2)]
    store.began([*keys, keys[0]])
    store.began(keys[:1])
    assert ResultStore(database_at(url)).look_up(keys).tries == {keys[0]: 2, keys[1]: 1}
    store.record([result("cam-1", 1)], ended=keys)
    assert store.look_up(keys).tries == {}


def test_counts_that_come_along_are_kept(store: ResultStore, url: str) -> None:
    store.record([], refused=2, deduplicated=3, redelivered=4)
    store.record([result("cam-1", 1)], redelivered=1)
    tallies = ResultStore(database_at(url)).tallies()
    assert (tallies.refused, tallies.deduplicated, tallies.redelivered, tallies.taken) == (2, 3, 5, 1)


def test_old_results_expire_counted_and_their_repeats_stay_duplicates(store: ResultStore, url: str) -> None:
    old, new = 10 * DAY_US, 20 * DAY_US
    for start in range(1, 1201, 200):
        store.record([result("cam-1", number, received_unix_us=old) for number in range(start, start + 200)])
    store.record([result("cam-1", number, received_unix_us=new) for number in (1201, 1202)])
    assert store.expire(15 * DAY_US) == 1200
    assert store.expire(15 * DAY_US) == 0
    assert sequences(url) == [1201, 1202]
    assert store.record([result("cam-1", 1), result("cam-1", 1200), result("cam-1", 1203)]) == [
        DUPLICATE,
        DUPLICATE,
        NEW,
    ]
    assert store.look_up([ResultKey("cam-1", 600)]).stored == {("cam-1", 600)}
    tallies = store.tallies()
    assert (tallies.expired, tallies.held_frames, tallies.taken) == (1200, 3, 1203)
    assert tallies.held_bytes == 9
    # Positions are never given twice.
    assert [stored.position for stored in ResultReader(database_at(url)).in_order()] == [1201, 1202, 1203]


def test_pages_begin_behind_what_was_read(store: ResultStore, url: str) -> None:
    for start in range(0, 1200, 200):
        store.record([result(f"cam-{number % 2}", number) for number in range(start + 1, start + 201)])
    reader = ResultReader(database_at(url))
    assert [one.position for one in reader.in_order()] == list(range(1, 1201))
    assert [one.position for one in reader.in_order(limit=3)] == [1198, 1199, 1200]
    assert [one.position for one in reader.in_order(after=600, limit=501)] == list(range(601, 1102))
    assert [one.key.sequence for one in reader.in_order(node="cam-1", after=4, limit=3)] == [5, 7, 9]
    assert [(one.node, one.results) for one in reader.counts()] == [("cam-0", 600), ("cam-1", 600)]
    assert [one.results for one in reader.counts("cam-1")] == [600]


def test_a_store_that_is_not_there_is_not_made_by_reading(url: str) -> None:
    with pytest.raises(NotFoundError, match="results"):
        ResultReader(database_at(url))
    ResultStore(database_at(url)).prepare()
    with pytest.raises(NotFoundError, match="no result of cam-1 1"):
        ResultReader(database_at(url)).one(ResultKey("cam-1", 1))


def test_tables_are_made_once_by_many_at_once(url: str) -> None:
    stores = [ResultStore(database_at(url)) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(lambda store: store.record([result("cam-1", 1)]), stores))
    assert sorted(outcomes) == [[DUPLICATE]] * 5 + [[NEW]]


def test_a_newer_store_is_refused_in_one_line(store: ResultStore, url: str) -> None:
    store.prepare()
    database = database_at(url)
    with database.writing() as connection:
        connection.execute(text("UPDATE tercet_schemas SET version = 2"))
    for refused in (ResultStore(database).prepare, lambda: ResultReader(database)):
        with pytest.raises(SettingsError, match="of version 2, this program knows 1") as caught:
            refused()
        assert "\n" not in str(caught.value)


WRITER = """
import sys
from support.results import endless_writer
endless_writer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


def test_concurrent_writers_of_the_same_keys_make_each_new_exactly_once(url: str) -> None:
    writers = [spawn_writer(url, "shared", 20) for _ in range(4)]
    told = [line.split() for writer in writers for line in finish(writer)]
    by_key = Counter(sequence for sequence, outcome in told if outcome == NEW)
    assert len(told) == 4 * 20 * 5
    assert set(by_key.values()) == {1}
    assert len(by_key) == 20 * 5
    store = ResultStore(database_at(url))
    tallies = store.tallies()
    assert (tallies.taken, tallies.deduplicated) == (100, 300)
    positions = [stored.position for stored in ResultReader(database_at(url)).in_order()]
    assert positions == list(range(1, 101))


def test_a_killed_writer_loses_nothing_that_it_was_told_is_stored(url: str) -> None:
    """Killed in the middle of whatever it does, three times, while another one goes on."""
    ResultStore(database_at(url)).prepare()
    other = spawn_writer(url, "other", 40)
    acknowledged: list[str] = []
    for round_number in range(3):
        writer = spawn_writer(url, f"killed-{round_number}", 100_000)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(10 + 7 * round_number)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.stdout.close()
        writer.wait(10)
        # The last line may be half a line.
        acknowledged += [f"killed-{round_number} {line.split()[0]}" for line in lines if line.endswith("new\n")]
    finish(other)
    held = {f"{one.key.node} {one.key.sequence}" for one in ResultReader(database_at(url)).in_order()}
    assert acknowledged
    assert set(acknowledged) <= held
    store = ResultStore(database_at(url))
    assert store.tallies().held_frames == len(held)
    assert store.record([result("killed-0", 1)]) == [DUPLICATE]


def spawn_writer(url: str, node: str, batches: int) -> subprocess.Popen[str]:
    """A process that stores batches of 5 of a node, and says of each result what it was told."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, node, str(batches)], stdout=subprocess.PIPE, text=True, cwd=TESTS
    )


def finish(writer: subprocess.Popen[str]) -> list[str]:
    output, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0
    return output.splitlines()


def test_a_writer_that_holds_everybody_up_is_named_after_a_while(
    store: ResultStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 0.2)
    store.prepare()
    impatient = ResultStore(database_at(url))
    impatient.prepare()
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with database_at(url).writing() as connection:
            connection.execute(text("UPDATE tercet_result_tallies SET refused = refused"))
            holding.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(20)
    try:
        with pytest.raises(OverloadedError, match="is held by") as caught:
            impatient.record([result("cam-1", 1)])
        assert caught.value.retry_after_s
        # Readers are not held up.
        assert impatient.tallies().taken == 0
    finally:
        done.set()
        thread.join()
    assert impatient.record([result("cam-1", 1)]) == [NEW]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_restarts_is_used_again_by_itself(server: PrivatePostgres, how: signal.Signals) -> None:
    url = server.new_database()
    store = ResultStore(database_at(url))
    with ThreadPoolExecutor(3) as threads:
        # Several connections in the pool, all of which break.
        list(threads.map(lambda number: store.record([result("cam-1", number)]), range(1, 10)))
    server.stop(how)
    with pytest.raises(UnavailableError) as caught:
        store.record([result("cam-1", 10)])
    assert "secret" not in str(caught.value)
    server.start()
    assert store.record([result("cam-1", 9), result("cam-1", 10)]) == [DUPLICATE, NEW]
    with ThreadPoolExecutor(3) as threads:
        told = list(threads.map(lambda number: store.record([result("cam-1", number)]), range(1, 10)))
    assert told == [[DUPLICATE]] * 9


def test_sessions_that_the_server_ends_are_replaced(server: PrivatePostgres) -> None:
    url = server.new_database()
    store = ResultStore(database_at(url))
    store.record([result("cam-1", 1)])
    with database_at(url).writing() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    time.sleep(0.1)
    assert store.record([result("cam-1", 2)]) == [NEW]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"username": "nobody"}, SettingsError, "check name and password"),
        ({"password": "wrong"}, SettingsError, "check name and password"),
        ({"database": "absent"}, SettingsError, "createdb"),
        ({"port": 1}, UnavailableError, "does not answer"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line_without_the_password(
    server: PrivatePostgres, change: dict[str, object], kind: type[Exception], words: str
) -> None:
    from sqlalchemy.engine import make_url

    url = make_url(server.url).set(**change)  # type: ignore[arg-type]
    with pytest.raises(kind, match=words) as caught:
        ResultStore(database_at(url.render_as_string(hide_password=False))).prepare()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_unix_socket_will_do(server: PrivatePostgres) -> None:
    store = ResultStore(database_at(server.socket_url(server.new_database())))
    assert store.record([result("cam-1", 1)]) == [NEW]


def test_commits_wait_for_the_disk_whatever_the_server_says(server: PrivatePostgres) -> None:
    database = database_at(server.new_database(synchronous_commit="off"))
    with database.reading() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
        assert connection.scalar(text("SHOW fsync")) == "on"


def test_nothing_is_acknowledged_into_a_file_that_was_removed(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "results.db")
    store = ResultStore(database_at(url))
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda number: store.record([result("cam-1", number)]), range(1, 10)))
    for file in tmp_path.iterdir():
        file.unlink()
    assert store.record([result("cam-1", 10)]) == [NEW]
    assert sequences(url) == [10]

    def remove_while_writing() -> None:
        with database_at(url).writing():
            for file in tmp_path.iterdir():
                file.unlink()

    with pytest.raises(UnavailableError, match="was removed or replaced"):
        remove_while_writing()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda number: store.record([result("cam-1", number)]), range(11, 20)))
    assert sequences(url, "cam-1") == list(range(11, 20))


def test_a_file_waits_for_the_disk_at_every_commit(tmp_path: Path) -> None:
    with database_at(sqlite_url(tmp_path / "results.db")).reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
