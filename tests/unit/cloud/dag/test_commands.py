"""`tercet pipeline` says in one line what is wrong with what it was told, and creates nothing by mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import dag_steps
from tercet.cli.main import run
from tercet_cloud.dag.run_store import RunStore, state_url
from tercet_cloud.dag.spec import Pipeline

PIPELINE = """
name: p
inputs: {x: number}
nodes:
  n: {call: support.dag_steps:inc, needs: {x: input.x}}
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    store = RunStore(state_url(tmp_path / "state"), tmp_path / "state" / "values")
    spec = Pipeline(name="p").node("n", call=dag_steps.inc).model_dump_json()
    store.add({"run": "r", "pipeline": "p", "spec": spec, "state": "done", "submitted_s": 1.7e9}, [], "me")
    store.close()
    return tmp_path / "state"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = run(["pipeline", *arguments])
    return status, capsys.readouterr().err.strip()


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["show", "r"], ["logs", "r"], ["cancel", "r"], ["retry", "r"]):
        status, words = said(capsys, *command, "--database", f"sqlite:///{tmp_path}/typo.db")
        assert status == os.EX_NOINPUT
        assert words == f"tercet: no runs are kept in {tmp_path}/typo.db: is --database right?"
    assert not (tmp_path / "typo.db").exists()


def test_logs_of_a_node_that_is_not_there_are_an_error(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, words = said(capsys, "logs", "r", "--node", "m", "--state", str(state))
    assert (status, words) == (os.EX_NOINPUT, "tercet: run r has no node m (there: n)")


def test_runs_are_listed_with_the_day(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pipeline", "list", "--state", str(state)]) == 0
    assert "2023-11-1" in capsys.readouterr().out


def test_a_picture_that_cannot_be_written_is_said_to_be_so(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "p.yaml").write_text(PIPELINE)
    out = tmp_path / "file" / "x.svg"
    for option, command in (
        ("--svg", ["show", "r", "--state", str(state)]),
        ("--gantt", ["show", "r", "--state", str(state)]),
        ("--svg", ["check", str(tmp_path / "p.yaml")]),
    ):
        status, words = said(capsys, *command, option, str(out))
        assert status == os.EX_CONFIG
        assert words.startswith(f"tercet: {option}: cannot write {out}: ")
        assert "\n" not in words


def test_a_brokers_url_is_looked_at_before_anything_runs(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(PIPELINE)
    for command in (["run", str(tmp_path / "p.yaml"), "--input", "x=1"], ["retry", "r", "--state", str(state)]):
        status, words = said(capsys, *command, "--broker-url", "http://x")
        assert status == os.EX_CONFIG
        assert words.startswith("tercet: broker URL must look like")


def test_a_run_has_a_name_that_fits_a_line_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(PIPELINE)
    for name in ("", "two\nlines", "-x", "a" * 101, "a/b"):
        status, words = said(capsys, "run", str(tmp_path / "p.yaml"), "--input", "x=1", f"--name={name}")
        assert status == os.EX_DATAERR
        assert "as its name" in words
        assert "\n" not in words
