"""`tercet pipeline remove` forgets what it is told to and nothing else; a command that is recommended works."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tercet.errors import NotFoundError, SpecError
from tercet_cloud.dag.commands import pipeline
from tercet_cloud.dag.run_store import RunStore, state_url
from tercet_cloud.dag.session import PipelineSession, SessionOptions
from tercet_cloud.dag.spec import Pipeline

DAY_S = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    held = RunStore(state_url(tmp_path), tmp_path / "values")
    for run, state, days in (("old", "done", 9.0), ("new", "failed", 0.1), ("open", "running", None)):
        ended_s = None if days is None else time.time() - days * DAY_S
        spec = Pipeline(name="p").model_dump_json()
        row = {"run": run, "pipeline": "p", "spec": spec, "state": state, "submitted_s": 1.0, "ended_s": ended_s}
        held.add(row, [], "me")
    yield held
    held.close()


def remove(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(pipeline, ["remove", *arguments, "--state", str(state)], standalone_mode=False)


def runs(store: RunStore) -> set[str]:
    return {record.run for record in store.list(None)}


def test_runs_are_removed_by_name_and_by_age(store: RunStore, tmp_path: Path) -> None:
    assert remove(tmp_path, "--older-than-days", "1").output == "old\n"
    assert runs(store) == {"new", "open"}
    assert remove(tmp_path, "new").output == "new\n"
    assert runs(store) == {"open"}


def test_a_run_that_is_under_way_or_not_there_is_not_removed(store: RunStore, tmp_path: Path) -> None:
    assert isinstance(remove(tmp_path, "open").exception, SpecError)
    assert isinstance(remove(tmp_path, "nobody").exception, NotFoundError)
    assert "say which" in str(remove(tmp_path).exception)
    assert runs(store) == {"old", "new", "open"}


def test_the_command_that_goes_on_with_a_run_says_where_it_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "with a space"
    options = SessionOptions(state=state, database="postgresql://me:s3cret@host/runs")
    command = shlex.split(PipelineSession(options)._retry_command("r", state))
    assert command[:6] == ["tercet", "pipeline", "retry", "r", "--state", str(state)]
    assert command[6] == "--database"
    assert "s3cret" not in command[7]
    with pipeline.commands["retry"].make_context("retry", command[3:]) as context:
        assert context.params["state"] == state
