"""One process at a time serves a file: others would hand the same frames on, and give the same sequences twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tercet.durable.database import companion
from tercet.errors import SettingsError, UnavailableError
from tercet.on_disk import make_folder
from tercet.printable import printable


class ServingLock:
    """Held from the start until `release`, or until the process ends, in whatever way.

    A lock file beside the database: closing any descriptor of the database itself would undo SQLite's own locks.

    Raises:
        UnavailableError: another process, or another part of this one, serves the file.
        SettingsError: the folder cannot be written to.
    """

    def __init__(self, database: Path) -> None:
        path = companion(database, ".lock")
        try:
            make_folder(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SettingsError(
                f"cannot make {path}: {error.strerror}; name a folder that can be written"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = printable(os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()) or "unknown"
            self.release()
            raise UnavailableError(
                f"{database} is served by process {holder}: stop that one, or name another --state"
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # a full disk: the lock holds all the same
            pass

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
