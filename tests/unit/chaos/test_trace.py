"""Steps leave a trace of when they began, where, and what became of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos.pipelines.trace import executing, executions


def test_a_step_that_ended_one_that_raised_and_one_under_way_are_told_apart(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with executing(str(trace), "r/a"):
        pass
    with pytest.raises(RuntimeError), executing(str(trace), "r/b"):
        raise RuntimeError
    with executing(str(trace), "r/c"):
        ended, failed, open_ = executions(trace)
    assert (ended.key, ended.failed, ended.pid) == ("r/a", False, os.getpid())
    assert (failed.key, failed.failed) == ("r/b", True)
    assert (open_.key, open_.ended_s) == ("r/c", None)


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with executing(str(trace), "r/a"):
        pass
    with trace.open("a") as file:
        file.write('{"key": "r/b", "p')
    assert [each.key for each in executions(trace)] == ["r/a"]
    assert executions(tmp_path / "none") == []
