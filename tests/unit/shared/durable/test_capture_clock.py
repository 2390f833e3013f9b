"""A holder's clocks over restarts, with a boot clock and wall clocks that the test moves."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tercet.durable.capture_clock import FILE_NAME, CaptureClock
from tercet.durable.capture_time import AgeSource
from tercet.wall_clock import WallClock

S = 1_000_000
RIGHT = 1_767_225_600 * S


class SetClock(WallClock):
    """A wall clock that shows what it is set to."""

    def __init__(self, shows_us: int) -> None:
        super().__init__()
        self.shows_us = shows_us

    def now_us(self) -> int:
        return self.shows_us


class Machine:
    """Time that passes for a machine, whose wall clock is `wrong_us` ahead, and its restarts."""

    def __init__(self, folder: Path, wrong_us: int) -> None:
        self.folder, self.true_us, self.up_since_us, self.boots = folder, RIGHT, RIGHT, 0
        self.wall = SetClock(RIGHT + wrong_us)
        self.clock = self._open()

    def restart(self, off_us: int, shows_us: int) -> None:
        self.true_us += off_us
        self.up_since_us, self.boots = self.true_us, self.boots + 1
        self.wall = SetClock(shows_us)
        self.clock = self._open()

    def wait(self, us: int) -> None:
        self.true_us += us
        self.wall.shows_us += us

    def ask(self, host: str = "edge-1", host_wrong_us: int = 0) -> None:
        sent = self.clock.ask()
        self.wait(1000)
        answered_us = self.true_us + host_wrong_us
        self.wait(1000)
        self.clock.learn(host, sent, answered_us)

    def _open(self) -> CaptureClock:
        return CaptureClock(
            self.folder,
            self.wall,
            boottime_us=lambda: self.true_us - self.up_since_us,
            boot=f"boot-{self.boots}",
        )


def test_a_device_whose_clock_says_1970_at_every_start_tells_the_age_of_its_frames(tmp_path: Path) -> None:
    device = Machine(tmp_path, wrong_us=-RIGHT)
    device.ask()
    device.wait(100 * S)
    captured, captured_us = device.clock.now(), device.true_us
    device.restart(off_us=5 * 3600 * S, shows_us=0)
    device.wait(20 * S)
    assert device.clock.age(captured) == (20_000, AgeSource.UNKNOWN)
    assert device.clock.would_learn([captured])
    device.ask()
    assert not device.clock.would_learn([captured])
    age_ms, source = device.clock.age(captured)
    assert source is AgeSource.COMPARED_CLOCK
    assert abs(age_ms - (device.true_us - captured_us) / 1000) <= 3


def test_frames_of_a_boot_in_which_nobody_answered_are_flagged(tmp_path: Path) -> None:
    device = Machine(tmp_path, wrong_us=-RIGHT)
    device.wait(5 * S)
    captured = device.clock.now()
    device.restart(off_us=3600 * S, shows_us=0)
    assert not device.clock.would_learn([captured])
    device.ask()
    assert device.clock.age(captured)[1] is AgeSource.UNKNOWN


def test_a_wall_clock_that_is_set_is_counted_and_changes_no_age(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = Machine(tmp_path, wrong_us=0)
    captured = device.clock.now()
    device.ask()
    for _ in range(3):
        device.wait(10 * S)
        device.wall.shows_us -= 7200 * S
        assert device.clock.age(captured)[1] is AgeSource.MONOTONIC
    assert device.clock.jumps == 3
    assert device.clock.age(captured)[0] == 30_002
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_the_offset_from_another_host_is_shown_and_its_jumps_are_counted(tmp_path: Path) -> None:
    device = Machine(tmp_path, wrong_us=-40 * S)
    device.ask()
    assert device.clock.offsets_ms()["edge-1"] == pytest.approx(-40_000, abs=2)
    device.ask(host_wrong_us=500 * S)
    assert device.clock.offsets_ms()["edge-1"] == pytest.approx(-540_000, abs=2)
    assert device.clock.others_jumps == 1


def test_an_answer_to_nothing_that_was_asked_teaches_nothing(tmp_path: Path) -> None:
    device = Machine(tmp_path, wrong_us=0)
    sent = device.clock.ask()
    device.wait(1000)
    device.clock.learn("edge-1", sent + 1, RIGHT)
    device.clock.learn("edge-1", sent, device.true_us)
    device.clock.learn("edge-1", sent, RIGHT + 9000 * S)
    assert device.clock.offsets_ms()["edge-1"] == pytest.approx(0, abs=2)
    assert device.clock.others_jumps == 0


def test_a_garbled_file_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\0\0\0")
    device = Machine(tmp_path, wrong_us=0)
    assert "begun anew" in caplog.text
    device.ask()
    assert CaptureClock(tmp_path, boot="boot-0").offsets_ms().keys() == {"edge-1"}


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    device = Machine(blocked, wrong_us=0)
    for number in range(3):
        device.ask(f"edge-{number}")
    assert caplog.text.count("not saved") == 1
