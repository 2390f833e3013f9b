"""Frames that expired are read back from the lines that a journal writes of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from chaos.evidence import expired_frames
from chaos.ledger import FrameKey
from tercet.durable.ledger import NAMED_RUNS, Ledger
from tercet.logs import TextFormatter


def logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, keys: list[tuple[str, int]]) -> Path:
    ledger = Ledger.__new__(Ledger)
    ledger._expired = [("too old", *key) for key in keys]
    ledger._counts, ledger._pending = {}, None  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        ledger.publish()
    log = tmp_path / "edge.log"
    log.write_text("".join(f"{TextFormatter().format(record)}\n" for record in caplog.records), encoding="utf-8")
    return log


def test_runs_of_sequences_are_named_one_by_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = [("cam-1", 3), ("cam-1", 4), ("cam-1", 5), ("cam-2", 9)]
    assert expired_frames(logged(tmp_path, caplog, keys)) == [FrameKey(*key) for key in keys]


def test_of_too_many_runs_the_first_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = [("cam-1", 2 * number) for number in range(NAMED_RUNS + 3)]
    assert expired_frames(logged(tmp_path, caplog, keys)) == [FrameKey(*key) for key in keys[:NAMED_RUNS]]


def test_a_log_that_is_not_there_names_none(tmp_path: Path) -> None:
    assert expired_frames(tmp_path / "none.log") == []
