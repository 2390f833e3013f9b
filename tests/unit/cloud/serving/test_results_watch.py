"""Figures of stored results beside the replicas, and their expiry."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercet.durable.capture_time import AgeSource
from tercet.errors import SettingsError
from tercet.metrics import render
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.result import Result, ResultKey
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving import results_watch
from tercet_cloud.serving.results_watch import ResultsWatch

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_watch, "LOOK_EVERY_S", 0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def store(file: Path) -> Iterator[ResultStore]:
    opened = ResultStore(Database(DatabaseUrl.parse(sqlite_url(file), "--results")))
    yield opened
    opened.close()


def old_result(sequence: int) -> Result:
    return Result(ResultKey("cam-1", sequence), "tiny@0123456789ab", "raw", b"out", 1, AgeSource.MONOTONIC, 1)


async def until_shown(watch: ResultsWatch, text: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while text not in render(watch.metrics(), {}):
            await asyncio.sleep(0.005)


async def test_counts_of_the_store_are_metrics_whoever_wrote(store: ResultStore) -> None:
    watch = ResultsWatch(store, max_age_days=0)
    await watch.open()
    task = asyncio.create_task(watch.run())
    await until_shown(watch, "tercet_durable_taken_total 0\n")
    store.record([old_result(1), old_result(2), old_result(1)], redelivered=1)
    await until_shown(watch, "tercet_durable_taken_total 2\n")
    shown = render(watch.metrics(), {})
    assert "tercet_durable_deduplicated_total 1\n" in shown
    assert "tercet_durable_held_bytes 6\n" in shown
    assert watch.facts() == {
        "durable": {
            "results": store.shown, "taken": 2, "redelivered": 1, "deduplicated": 1, "out_of_order": 0,
            "refused": 0, "expired": 0, "held_frames": 2, "held_bytes": 6,
        }
    }  # fmt: skip
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_results_over_the_age_are_given_up_and_counted(store: ResultStore) -> None:
    store.record([old_result(1), old_result(2)])
    watch = ResultsWatch(store, max_age_days=1)
    task = asyncio.create_task(watch.run())
    await until_shown(watch, "tercet_durable_expired_total 2\n")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_its_database_there_are_no_figures_and_serving_goes_on(
    store: ResultStore, file: Path
) -> None:
    watch = ResultsWatch(store, max_age_days=0)
    await watch.open()
    task = asyncio.create_task(watch.run())
    await until_shown(watch, "tercet_durable_taken_total 0\n")
    with sqlite3.connect(file) as other:
        other.execute("ALTER TABLE tercet_result_tallies RENAME TO elsewhere")
    other.close()
    async with asyncio.timeout(WAIT_S):
        while "tercet_durable_taken_total" in render(watch.metrics(), {}):
            await asyncio.sleep(0.005)
    assert watch.facts() == {"durable": {"results": store.shown}}
    with sqlite3.connect(file) as other:
        other.execute("ALTER TABLE elsewhere RENAME TO tercet_result_tallies")
    other.close()
    await until_shown(watch, "tercet_durable_taken_total 0\n")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_database_that_is_away_does_not_keep_the_cloud_from_starting() -> None:
    url = DatabaseUrl.parse("postgresql://me:secret@127.0.0.1:1/tercet?sslmode=disable", "--results")
    await ResultsWatch(ResultStore(Database(url)), max_age_days=0).open()


async def test_a_file_that_cannot_be_made_does(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ResultStore(Database(DatabaseUrl.parse(sqlite_url(tmp_path / "file" / "results.db"), "--results")))
    with pytest.raises(SettingsError):
        await ResultsWatch(store, max_age_days=0).open()
