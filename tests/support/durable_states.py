"""States of journals that tests need: after a kill, with a clock that they set."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tercet.durable.capture_clock import CaptureClock
from tercet.wall_clock import WallClock


def as_killed(folder: Path, to: Path) -> Path:
    """A copy of a state folder in use: what a process killed at this moment would leave."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.lock"))
    return to


@dataclass
class SetClock(WallClock):
    """A host's clocks, as the test has them."""

    boot: str = "boot-1"
    boottime_us: int = 1_000_000_000
    wall_us: int = 1_700_000_000_000_000

    def now_us(self) -> int:
        return self.wall_us

    def clock(self, folder: Path) -> CaptureClock:
        return CaptureClock(folder, self, boottime_us=lambda: self.boottime_us, boot=self.boot)

    def passes(self, seconds: float) -> None:
        self.boottime_us += round(seconds * 1e6)
        self.wall_us += round(seconds * 1e6)

    def restarts(self, *, boottime_s: float) -> None:
        """The host is up again, for so long."""
        self.boot += "+"
        self.boottime_us = round(boottime_s * 1e6)
