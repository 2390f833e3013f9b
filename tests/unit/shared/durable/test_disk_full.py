"""On a full disk new frames are refused, the acknowledged ones are handed on, and with room all goes on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.small_disk import NOT_ALLOWED

TESTS = Path(__file__).parents[3]
DISK_MIB = 24


def told(command: list[str]) -> dict[str, Any]:
    """What a life on a full disk saw."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=TESTS, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode == NOT_ALLOWED:
        pytest.skip(f"this machine lets us mount no small disk: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    saw: dict[str, Any] = json.loads(done.stdout)
    return saw


def on_small_disk(folder: Path, how: str) -> dict[str, Any]:
    return told(["support.small_disk", str(DISK_MIB), str(folder), "support.full_disk_life", how])


def check(saw: dict[str, Any]) -> None:
    assert saw["repeat"] == ["duplicate"]
    assert saw["newer"] == ["OverloadedError"]
    text, retry_after_s = saw["record"]
    assert "no room for" in text
    assert "free space on its disk" in text
    assert retry_after_s
    # One to the dead letters, half of the rest handed on, all of that while the disk was full.
    handed_on = saw["taken"] // 2
    assert saw["held while full"] == saw["taken"] - 1 - handed_on
    assert saw["counters"]["acknowledged"] == handed_on
    assert saw["counters"]["dead_lettered"] == 1
    assert saw["again"]
    assert saw["ballast in the end"]
    assert saw["left"] == list(range(handed_on + 1, saw["taken"] + 1))
    assert saw["whole"]


@pytest.mark.parametrize("how", ["pages", "file-limit"])
def test_a_limit_of_sqlite_or_the_system_is_as_a_full_disk(tmp_path: Path, how: str) -> None:
    saw = told(["support.full_disk_life", str(tmp_path), how])
    assert saw["refusal"][0] == "OverloadedError"
    assert saw["refusal"][2]
    check(saw)


def test_a_disk_that_frames_fill_loses_none(tmp_path: Path) -> None:
    saw = on_small_disk(tmp_path, "hog")
    assert saw["refusal"][0] == "OverloadedError"
    check(saw)


def test_the_ballast_is_given_up_when_others_take_the_last_block(tmp_path: Path) -> None:
    saw = on_small_disk(tmp_path, "early-hog")
    assert not saw["ballast while full"]
    check(saw)


def test_a_start_on_a_full_disk_needs_the_ballast_or_says_what_it_needs(tmp_path: Path) -> None:
    saw = on_small_disk(tmp_path, "start")
    assert saw["with ballast"] == "handed one on"
    assert "free space on its disk" in saw["without"]
    assert saw["with room"] == "handed one on"


def test_the_small_disk_goes_with_its_process(tmp_path: Path) -> None:
    on_small_disk(tmp_path, "start")
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text(encoding="utf-8")
