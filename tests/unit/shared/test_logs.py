"""Every event is one line for people or one object for machines, and no peer can forge one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tercet.errors import SettingsError
from tercet.logs import LogFormat, configure_logging

log = logging.getLogger("tercet.tested")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.split("\n")[:-1]


def configure(log_format: LogFormat, level: str = "info") -> None:
    configure_logging("edge", "gateway-1", level, log_format)


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")
    log.info("segment loaded", extra={"segment": 3, "path": Path("a b")})
    (line,) = lines(capsys)
    clock, _, rest = line.partition(" ")
    assert [len(part) for part in clock.split(":")] == [2, 2, 2]
    assert rest == "INFO    edge/gateway-1 segment loaded segment=3 path=a b"


def test_an_object_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    log.warning("link %s", "lost", extra={"tries": 2, "where": Path("/x"), "who": "Ünï\n☕"})
    (line,) = lines(capsys)
    entry = json.loads(line)
    time = entry.pop("time")
    assert time[10] + time[-1] == "TZ"
    assert entry == {
        "level": "warning",
        "logger": "tercet.tested",
        "event": "link lost",
        "tier": "edge",
        "node": "gateway-1",
        "tries": 2,
        "where": "/x",
        "who": "Ünï\n☕",
    }


HOSTILE = ["a\n00:00:00 INFO edge/gateway-1 all is well", "\r\x1b[2J\x1b[H", "\u2028\x85\x0b\x0c", "\ud800", "\0"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_peer_says_never_makes_a_second_line(
    capsys: pytest.CaptureFixture[str], log_format: LogFormat, text: str
) -> None:
    configure(log_format)
    log.info("frame refused: %s", text, extra={"peer": text, "reason": {"nested": text}})
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert "\r" not in err
    if log_format == "text":
        assert err[:-1].isprintable()


def raise_something() -> None:
    raise ValueError("first\n00:00:00 INFO edge/gateway-1 all is well\x1b[2J")


def test_a_traceback_is_indented_below_its_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")
    try:
        raise_something()
    except ValueError:
        log.exception("frame failed", extra={"sequence": 7})
    event, *trace = lines(capsys)
    assert event.endswith("ERROR   edge/gateway-1 frame failed sequence=7")
    assert trace[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in trace)


def test_a_traceback_is_one_field_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    try:
        raise_something()
    except ValueError:
        log.exception("frame failed")
    (line,) = lines(capsys)
    entry: dict[str, Any] = json.loads(line)
    assert entry["exception"].startswith("Traceback")
    assert "ValueError: first" in entry["exception"]


def test_levels_below_the_chosen_one_are_silent_and_chatty_libraries_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("text", "Warning")
    log.info("quiet")
    assert lines(capsys) == []
    configure("text", "debug")
    logging.getLogger("aiomqtt").info("packet")
    log.debug("told")
    assert [line.split()[-1] for line in lines(capsys)] == ["told"]


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'loud' is unknown: use debug, info"):
        configure("text", "loud")
