"""`tercet results` as people use it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tercet.cli.main import run
from tercet.durable.capture_time import AgeSource
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.result import Result, ResultKey
from tercet_cloud.results.store import ResultStore

NOON_US = 1_795_867_200_000_000  # 2026-11-28 12:00 UTC


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A cloud's folder with four results, one of them late, one of an unknown time and degraded."""
    database = Database(DatabaseUrl.parse(sqlite_url(tmp_path / "results.db"), "--results"))
    store = ResultStore(database)
    store.record([result("cam-1", 1), result("cam-2", 7), result("cam-1", 3, uncertain=True), result("cam-1", 2)])
    database.close()
    return tmp_path


def result(node: str, sequence: int, *, uncertain: bool = False) -> Result:
    header = pb.FrameHeader(model="tiny@0123456789ab", plan="raw", node=node, sequence=sequence)
    return Result(
        ResultKey(node, sequence),
        header.model,
        header.plan,
        Answer.of_outputs(header, {"scores": np.array([[0.5, sequence]], np.float32)}).seal(),
        captured_unix_us=NOON_US,
        age_source=AgeSource.UNKNOWN if uncertain else AgeSource.MONOTONIC,
        received_unix_us=NOON_US + 1_000_000,
        degraded=uncertain,
        reason="cloud away" if uncertain else "",
        label="tabby",
        confidence=0.25,
    )


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_last_results_are_a_table_that_names_what_is_odd(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["results", "list", "--state", str(state), "--limit", "2"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "cam-" in line]
    assert ["degraded, time uncertain" in row for row in rows] == [True, False]
    assert ["late" in row for row in rows] == [False, True]
    assert all("2026-11-28 12:00:00" in row and "tabby" in row and "0.250" in row for row in rows)


def test_every_result_is_a_json_line_and_reading_goes_on_behind_the_last(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["results", "list", "--state", str(state), "--limit", "0", "--json"]) == 0
    found = lines(capsys)
    assert [line["position"] for line in found] == [1, 2, 3, 4]
    assert found[2]["captured_uncertain"] is True
    assert (found[2]["degraded"], found[2]["reason"], found[3]["late"]) == (True, "cloud away", True)
    assert "outputs" not in found[0]
    assert run(["results", "list", "--state", str(state), "--after", "3", "--json", "--outputs"]) == 0
    (last,) = lines(capsys)
    assert last["outputs"] == {"scores": {"dtype": "float32", "shape": [1, 2], "values": [[0.5, 2.0]]}}


def test_those_of_one_device_are_in_the_order_it_counted_them(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["results", "list", "--state", str(state), "--node", "cam-1", "--after", "1", "--json"]) == 0
    assert [line["sequence"] for line in lines(capsys)] == [2, 3]


def test_one_result_is_shown_with_its_outputs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = sqlite_url(state / "results.db")
    assert run(["results", "show", "cam-2", "7", "--results", url]) == 0
    assert "float32 [1, 2]" in capsys.readouterr().out
    assert run(["results", "show", "cam-2", "8", "--results", url]) == os.EX_NOINPUT
    assert "no result of cam-2 8" in capsys.readouterr().err


def test_results_are_counted_by_device(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["results", "count", "--state", str(state), "--json"]) == 0
    assert [(line["node"], line["results"], line["late"]) for line in lines(capsys)] == [
        ("cam-1", 3, 1),
        ("cam-2", 1, 0),
    ]
    assert run(["results", "count", "--state", str(state), "--node", "cam-2"]) == 0
    assert "cam-1" not in capsys.readouterr().out


def test_without_results_it_is_one_line_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["results", "list", "--state", str(tmp_path)]) == os.EX_NOINPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert "is that where results are kept?" in line
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("TERCET_CLOUD_RESULTS", "postgresql://me:s3cret@db")
    assert run(["results", "count"]) == os.EX_CONFIG
    assert "s3cret" not in capsys.readouterr().err
