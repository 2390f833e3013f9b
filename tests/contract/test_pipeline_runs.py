"""What kept runs ask of their database, of SQLite and of PostgreSQL where it is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tercet.errors import SpecError
from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.run_store import ALL, Batch, RunStore
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl

PIPELINE = Pipeline(name="p").node("n", call="builtins:int")

# The tables as version 1 had them, as far as they have changed since.
VERSION_1 = """
CREATE TABLE tercet_schemas (name VARCHAR NOT NULL PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO tercet_schemas VALUES ('pipeline runs', 1);
CREATE TABLE tercet_pipeline_runs (
    run VARCHAR NOT NULL PRIMARY KEY, pipeline VARCHAR NOT NULL, spec TEXT NOT NULL, state VARCHAR NOT NULL,
    submitted_s FLOAT NOT NULL, started_s FLOAT, ended_s FLOAT, reason TEXT NOT NULL, partial BOOLEAN NOT NULL,
    priority INTEGER, deadline_at_s FLOAT, owner VARCHAR NOT NULL, beat INTEGER NOT NULL, cancel VARCHAR NOT NULL);
CREATE TABLE tercet_pipeline_values (
    run VARCHAR NOT NULL, source VARCHAR NOT NULL, item INTEGER NOT NULL, data BYTEA, address VARCHAR NOT NULL,
    length INTEGER, PRIMARY KEY (run, source, item));
"""


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[RunStore]:
    held = RunStore(url, tmp_path / "values")
    yield held
    held.close()


def row(run: str = "r", **facts: Any) -> dict[str, Any]:
    spec = PIPELINE.model_dump_json()
    return {"run": run, "pipeline": "p", "spec": spec, "state": "running", "submitted_s": 1.1, **facts}


def test_a_run_is_added_once_and_by_one(store: RunStore) -> None:
    value = {"run": "r", "source": "input.x", "item": -1, "data": b"1", "address": ""}
    assert store.add(row(submission="1"), [value], "me")
    assert store.add(row(submission="1"), [value], "me")
    assert not store.add(row(submission="1"), [value], "other")
    for another in ("2", ""):
        with pytest.raises(SpecError, match="there is a run r already"):
            store.add(row(submission=another), [], "me")
    assert [lease.owner for lease in store.leases()] == ["me"]


def test_runs_without_a_submission_are_never_the_same(store: RunStore) -> None:
    store.add(row(), [], "me")
    with pytest.raises(SpecError, match="there is a run r already"):
        store.add(row(), [], "me")


def test_of_many_who_add_one_name_at_once_one_does(store: RunStore) -> None:
    together = threading.Barrier(4)

    def add(owner: str) -> str:
        together.wait()
        try:
            store.add(row(), [], owner)
        except SpecError:
            return ""
        return owner

    with ThreadPoolExecutor(4) as pool:
        added = [owner for owner in pool.map(add, "abcd") if owner]
    assert [lease.owner for lease in store.leases()] == added


def test_wishes_stay_until_they_are_granted(store: RunStore) -> None:
    store.add(row(), [], "me")
    for node in ("n", None, "n"):
        store.ask_cancel("r", node)
    for _ in range(2):
        assert store.renew(["r"], "me") == ([], {"r": [ALL]})
    store.clear_cancels([("r", ALL)], "me")
    assert store.heard_cancel("r", "n")[0]


def test_a_run_goes_through_all_that_may_happen_to_it(store: RunStore) -> None:
    store.add(row(), [], "me")
    assert [one.record.run for one in store.claim(store.leases(), "other")] == ["r"]
    store.end("r", "me", "not mine")
    store.end("r", "other", "cannot go on")
    assert (store.record("r").state, store.record("r").reason) == (RunState.FAILED, "cannot go on")
    store.reopen("r")
    assert store.cancel_unowned(store.leases()[0])
    assert store.record("r").state is RunState.CANCELLED
    assert store.ended_before(1e12) == ["r"]
    store.remove("r")
    assert store.list() == []


def test_runs_of_an_older_version_are_brought_along(url: str, tmp_path: Path) -> None:
    database = Database(DatabaseUrl.parse(url, "--database"))
    spec = PIPELINE.model_dump_json()
    with database.writing() as connection:
        for statement in VERSION_1.split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
        connection.execute(
            text(
                "INSERT INTO tercet_pipeline_runs VALUES "
                "('old', 'p', :spec, 'running', 1.0, NULL, NULL, '', :no, NULL, NULL, 'me', 3, 'n')"
            ),
            {"spec": spec, "no": False},
        )
    for _ in range(2):
        store = RunStore(url, tmp_path / "values")
        assert store.renew(["old"], "me") == ([], {"old": ["n"]})
        assert (store.import_paths("old"), store.pipeline("old")) == ([], PIPELINE)
        store.close()
    store.add(row(), [{"run": "r", "source": "n", "item": -1, "data": b"1", "address": ""}], "me")
    store.write(Batch(runs=[{"run": "r", "state": "done"}]), "me")
    assert store.value("r", "n") == b"1"
    store.close()
    database.close()
