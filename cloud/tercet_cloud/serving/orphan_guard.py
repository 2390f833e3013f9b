"""Lets no process that Ray started outlive `tercet cloud run`, however that ends.

Ray's daemons end with the process that started them, but HAProxy and Ray's agents do not. So a small watcher
in a session of its own (out of reach of Ctrl-C) holds one end of a pipe whose other end only the guarded
process has. When the pipe closes, the watcher ends every process that works in the scratch folder, then
removes the folder. Nothing is found by a program's name: a process works in the folder if its environment
names it, or (some overwrite their environment with a title) if it has a file in it open for writing.

    python -m tercet_cloud.serving.orphan_guard FOLDER      the watcher, reading its standard input
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

import psutil

# The variable by which descendants are known. Ray puts its sessions into the folder it names.
MARKER = "RAY_TMPDIR"
_TERM_GRACE_S = 1.0
_PATIENCE_S = 10.0
# Unix socket paths end at 107 bytes; Ray appends about 70 to its folder.
_MAX_FOLDER_BYTES = 36


class OrphanGuard:
    """While entered: a private scratch folder, and a watcher that cleans up after it is left or we die.

    Leaving ends what is still alive and removes the folder; it blocks for up to about 10 s.
    """

    def __enter__(self) -> OrphanGuard:
        self.folder = _make_folder()
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", "tercet_cloud.serving.orphan_guard", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.communicate(timeout=_PATIENCE_S + 5)


def end_workers(folder: Path, spare: Collection[int] = ()) -> list[int]:
    """End every process that works in `folder`, kindly first; returns the ids of those that resisted.

    Args:
        spare: ids of processes to leave alone, besides this one.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    kill_at_s = time.monotonic() + _TERM_GRACE_S
    while workers := _workers(folder, {os.getpid(), *spare}):
        now_s = time.monotonic()
        if now_s > deadline_s:
            return [process.pid for process in workers]
        for process in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill() if now_s > kill_at_s else process.terminate()
        psutil.wait_procs(workers, timeout=0.3)
    return []


def _workers(folder: Path, spare: Collection[int]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in spare and _works_in(process, folder):
                found.append(process)
    return found


def _works_in(process: psutil.Process, folder: Path) -> bool:
    if process.environ().get(MARKER) == str(folder):
        return True
    # Readers, such as somebody who follows a log, are left alone.
    return any(
        getattr(file, "mode", "r") != "r" and Path(file.path).is_relative_to(folder)
        for file in process.open_files()
    )


def _make_folder() -> Path:
    """A fresh private folder whose path is short enough for Ray's sockets."""
    preferred = tempfile.gettempdir()
    parent = preferred if len(os.fsencode(preferred)) + 14 <= _MAX_FOLDER_BYTES else "/tmp"
    return Path(tempfile.mkdtemp(prefix="tercet-", dir=parent))


def _watch(folder: Path) -> None:
    guarded = os.getppid()
    while sys.stdin.buffer.read(1024):
        pass
    end_workers(folder, {guarded})
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
