"""A command that is started again when it crashes, and only then: real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tercet.supervision import FINISHED_BADLY, Ending, status_of_work, verdict

SOON_S = 20.0
# Of which the bare interpreter has 9.
MOST_RSS_MB = 20

# Writes its id to a file, then does as the next line of another file says.
CHILD = """
import os, signal, sys, time
from pathlib import Path

folder = Path(sys.argv[1])
with (folder / "starts").open("a") as starts:
    starts.write(f"{os.getpid()}\\n")
orders = (folder / "orders").read_text().splitlines()
number = len((folder / "starts").read_text().splitlines())
order = orders[min(number, len(orders)) - 1]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
if order == "reread":
    signal.signal(signal.SIGHUP, lambda *_: (folder / "reread").touch())
if order in ("stay", "reread"):
    while True:
        time.sleep(0.05)
if order == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if order == "raise":
    raise RuntimeError("a bug")
sys.exit(int(order))
"""


@pytest.mark.parametrize("status", [0, 2, os.EX_USAGE, os.EX_DATAERR, os.EX_NOINPUT, os.EX_CONFIG, FINISHED_BADLY])
def test_what_the_next_one_would_end_for_too_is_not_started_again(status: int) -> None:
    assert verdict(Ending(status), asked_to_end=False) == "leave"


@pytest.mark.parametrize(
    "ending",
    [Ending(1), Ending(os.EX_SOFTWARE), Ending(os.EX_UNAVAILABLE), Ending(os.EX_TEMPFAIL), Ending(killed_by=9)],
    ids=str,
)
def test_crashes_and_what_may_pass_are_started_again_unless_asked_to_end(ending: Ending) -> None:
    assert verdict(ending, asked_to_end=False) == "restart"
    assert verdict(ending, asked_to_end=True) == "leave"


def test_work_that_is_done_is_not_done_again_for_its_losses() -> None:
    assert Ending(FINISHED_BADLY).own_status == os.EX_TEMPFAIL
    # Without a supervisor everybody sees the status itself.
    assert status_of_work(os.EX_TEMPFAIL) == os.EX_TEMPFAIL


class Supervised:
    """A supervisor with the child above."""

    def __init__(self, folder: Path, *orders: str) -> None:
        self.folder = folder
        (folder / "orders").write_text("\n".join(orders))
        (folder / "starts").touch()
        (folder / "child.py").write_text(CHILD)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tercet.supervision", "edge", "edge-1", "info", "text"),
                    *(sys.executable, str(folder / "child.py"), str(folder)),
                ],
                stderr=log,
                start_new_session=True,
            )

    @property
    def starts(self) -> list[int]:
        return [int(line) for line in (self.folder / "starts").read_text().splitlines()]

    def until(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + SOON_S
        while not done():
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.02)

    def end(self) -> int:
        return self.process.wait(SOON_S)


@contextlib.contextmanager
def supervised(folder: Path, *orders: str) -> Iterator[Supervised]:
    one = Supervised(folder, *orders)
    try:
        yield one
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()


def test_a_child_that_crashes_is_started_again_until_it_ends_well(tmp_path: Path) -> None:
    with supervised(tmp_path, "raise", "kill", str(os.EX_UNAVAILABLE), "0") as one:
        assert one.end() == 0
        assert len(set(one.starts)) == 4
        assert "killed by signal 9" in one.log.read_text()


@pytest.mark.parametrize("status", [os.EX_CONFIG, os.EX_USAGE, os.EX_DATAERR, os.EX_NOINPUT])
def test_a_wrong_configuration_ends_both(tmp_path: Path, status: int) -> None:
    with supervised(tmp_path, str(status)) as one:
        assert one.end() == status
        assert len(one.starts) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on_and_end_both_with_the_childs_status(tmp_path: Path, number: signal.Signals) -> None:
    with supervised(tmp_path, "stay") as one:
        one.until(lambda: len(one.starts) == 1)
        # Its handlers are there a moment later.
        time.sleep(0.5)
        one.process.send_signal(number)
        assert one.end() == (7 if number == signal.SIGTERM else 128 + number)
        assert not psutil.pid_exists(one.starts[0])
        assert len(one.starts) == 1


def test_a_child_that_takes_a_hang_up_for_something_else_is_started_again_later(tmp_path: Path) -> None:
    with supervised(tmp_path, "reread", "0") as one:
        one.until(lambda: len(one.starts) == 1)
        time.sleep(0.5)
        one.process.send_signal(signal.SIGHUP)
        one.until((tmp_path / "reread").exists)
        os.kill(one.starts[0], signal.SIGKILL)
        assert one.end() == 0
        assert len(one.starts) == 2


def test_a_signal_between_two_tries_ends_it_at_once(tmp_path: Path) -> None:
    with supervised(tmp_path, "raise") as one:
        one.until(lambda: len(one.starts) >= 4)
        one.process.send_signal(signal.SIGTERM)
        assert one.end() in (0, 1, 7, 128 + signal.SIGTERM)


def test_tries_get_rarer(tmp_path: Path) -> None:
    with supervised(tmp_path, "raise") as one:
        time.sleep(4)
        # Without back-off there would be dozens.
        assert 2 <= len(one.starts) <= 8


def test_the_child_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, "stay") as one:
        one.until(lambda: len(one.starts) == 1)
        child = psutil.Process(one.starts[0])
        time.sleep(0.5)
        one.process.kill()
        one.until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_supervisor_is_small(tmp_path: Path) -> None:
    with supervised(tmp_path, "stay") as one:
        one.until(lambda: len(one.starts) == 1)
        rss_mb = psutil.Process(one.process.pid).memory_info().rss / 2**20
    assert rss_mb < MOST_RSS_MB


def test_it_stays_where_hang_ups_are_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with supervised(tmp_path, "stay") as one:
            one.until(lambda: len(one.starts) == 1)
            one.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            assert one.process.poll() is None
    finally:
        signal.signal(signal.SIGHUP, before)
