"""A file system with little room: a tmpfs of its own where this process may mount one, else a limit of file sizes.

A tmpfs says "no space left" as a full disk does. Where mounting is not allowed, the processes whose disk is to be
full are given a limit on the size of their files (RLIMIT_FSIZE): writes beyond it fail likewise, with another error
number. `kind` says which it is.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil

COMMAND_S = 10.0
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class SmallDisk:
    """While entered, `folder` is a file system of `size_bytes`, or stands for one. It is empty afterwards."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self.size_bytes = size_bytes
        self.kind = "limit of file sizes"
        self._filler = folder / "filler"

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(parents=True, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self.size_bytes},mode=700", "chaos", str(self.folder)]
        outcome = subprocess.run(mount, capture_output=True, timeout=COMMAND_S, check=False)
        if outcome.returncode == 0:
            self.kind = "tmpfs"
        return self

    def __exit__(self, *_: object) -> None:
        if self.kind == "tmpfs":
            # Lazily: a process that is just ending may still hold a file.
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, timeout=COMMAND_S, check=False)

    def fill(self, processes: Iterable[psutil.Process]) -> None:
        """Take all room, as a log that nobody turns over would. `processes`: those that write here."""
        if self.kind == "tmpfs":
            with self._filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(1 << 16))
        else:
            sizes = [file.stat().st_size for file in self.folder.rglob("*") if file.is_file()]
            _limit(processes, (max(sizes, default=0), resource.RLIM_INFINITY))

    def clear(self, processes: Iterable[psutil.Process]) -> None:
        """Give it back."""
        if self.kind == "tmpfs":
            self._filler.unlink(missing_ok=True)
        else:
            _limit(processes, _UNLIMITED)


def _limit(processes: Iterable[psutil.Process], limits: tuple[int, int]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_FSIZE, limits)


def room_left(folder: Path) -> int:
    """Bytes that may still be written there."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize
