"""Whoever waits for a run sees what it gave, whatever else goes wrong."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tercet.errors import InputError, LinkDownError, TercetError
from tercet.links.broker_url import BrokerUrl
from tercet_cloud.dag.events.telling import Teller
from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.run_command import follow_run

NOBODY = Teller(BrokerUrl.parse("mqtt://127.0.0.1:1"), "main")


class EndedRun:
    """A session whose run is done. Nobody may look at it again and again: there is no terminal."""

    def __init__(self, outputs: dict[str, Any], missing: dict[str, TercetError] | None = None) -> None:
        self._outputs, self._missing = outputs, missing or {}

    def wait(self, run: str, timeout_s: float | None = None) -> RunRecord:
        return RunRecord(run, "p", RunState.DONE)

    def read_outputs(self, run: str, *, events: bool = False) -> tuple[dict[str, Any], dict[str, TercetError]]:
        return ({"key": 1}, {}) if events else (self._outputs, dict(self._missing))


def follow(session: EndedRun, *, as_json: bool = False, teller: Teller | None = None) -> int:
    return follow_run(session, "r", as_json, teller)  # type: ignore[arg-type]


@pytest.mark.parametrize("as_json", [False, True])
def test_what_a_run_gave_is_shown_though_its_events_cannot_be_told(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    with pytest.raises(LinkDownError, match="no broker"):
        follow(EndedRun({"text": "hello"}), as_json=as_json, teller=NOBODY)
    out = capsys.readouterr().out
    assert json.loads(out)["outputs"] == {"text": "hello"} if as_json else out == "text: hello\n"


def test_an_output_that_is_missing_is_named_and_the_others_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    session = EndedRun({"there": [1.0, float("nan")]}, {"nowhere": InputError("a mapping has no 'x'")})
    assert follow(session) == os.EX_DATAERR
    shown = capsys.readouterr()
    assert shown.out == "there: [1.0, null]\n"
    assert shown.err.splitlines()[-1] == "tercet: nowhere: a mapping has no 'x'"
    assert follow(session, as_json=True) == os.EX_DATAERR
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (answer["outputs"], answer["missing"]) == ({"there": [1.0, None]}, {"nowhere": "a mapping has no 'x'"})


def test_a_run_that_is_done_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert follow(EndedRun({})) == os.EX_OK
    assert "run r: done" in capsys.readouterr().err
