"""Watching a run costs its scheduler a few looks a second, however much happens in it."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.session import PipelineSession, SessionOptions


def test_a_run_that_changes_all_the_time_is_looked_at_eight_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = itertools.count()
    until_s = time.monotonic() + 0.7

    def look(self: Any, run: str, version: int) -> tuple[int, RunRecord]:
        state = RunState.RUNNING if time.monotonic() < until_s else RunState.DONE
        return next(versions), RunRecord(run, "p", state)

    monkeypatch.setattr(PipelineSession, "_look", look)
    records = list(PipelineSession(SessionOptions()).watch("r"))
    assert records[-1].state is RunState.DONE
    assert 2 <= len(records) <= 8
