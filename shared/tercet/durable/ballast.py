"""Room on a disk that others fill too: a file of real blocks that is given up when there is nothing else left.

What has been acknowledged must be handed on even on a full disk, and handing on needs a little room to note it. So
a journal keeps a file that it removes when the disk is full, takes no new frames until it is back, and looks for
that once a second.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from tercet.durable.database import RETRY_AFTER_S, companion, no_room
from tercet.limits import MIB

log = logging.getLogger(__name__)

BALLAST_BYTES = 8 * MIB
_CHUNK_BYTES = MIB
# Beside a new frame, which is written to the log and from there to the file.
_SPARE_BYTES = MIB


class Ballast:
    """A file of `size_bytes`; nothing if that is 0."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path, self._size_bytes = path, size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def in_place(self) -> bool:
        try:
            return self._path.stat().st_size >= self._size_bytes
        except OSError:
            return self._size_bytes == 0

    def make(self) -> bool:
        """Have it in place; False if there is no room for it.

        Random bytes: a file system that packs zeros would hold no block for them.
        """
        if self.in_place():
            return True
        try:
            # Buffered, so that a write that got only half its way is an error.
            with self._path.open("wb") as file:
                for start in range(0, self._size_bytes, _CHUNK_BYTES):
                    file.write(os.urandom(min(_CHUNK_BYTES, self._size_bytes - start)))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> None:
        self._path.unlink(missing_ok=True)


class DiskRoom:
    """Whether there is room for new frames where a journal lies. Used by its writer thread alone."""

    def __init__(self, database: Path, ballast_bytes: int = BALLAST_BYTES) -> None:
        self._database = database
        self._ballast = Ballast(companion(database, ".ballast"), ballast_bytes)
        self._short = False
        self._look_again_s = 0.0
        self._promised_bytes = 0

    @property
    def short(self) -> bool:
        return self._short

    @property
    def ballast_bytes(self) -> int:
        return self._ballast.size_bytes

    def begin(self, unsettled_bytes: int) -> None:
        """Before a transaction. `unsettled_bytes` lie in the log and not yet in the file."""
        self._promised_bytes = unsettled_bytes

    def admit(self, size_bytes: int) -> None:
        """Before a frame is written. Raises OverloadedError if the disk is full, or would be."""
        if self._short and time.monotonic() < self._look_again_s:
            raise no_room(self._database, "the disk is full")
        needed_bytes = self._promised_bytes + 2 * size_bytes + _SPARE_BYTES
        if not self._ballast.in_place():
            needed_bytes += self._ballast.size_bytes
        if self._free_bytes() < needed_bytes or not self._ballast.make():
            self.fell_short("the disk is full")
            raise no_room(self._database, "the disk is full")
        self._promised_bytes += 2 * size_bytes

    def fell_short(self, reason: str) -> None:
        """A write failed, or would have: no new frames for a second."""
        if not self._short:
            log.warning("no room for durable frames", extra={"file": str(self._database), "reason": reason})
        self._short = True
        self._look_again_s = time.monotonic() + RETRY_AFTER_S

    def wrote(self) -> None:
        """A new frame was written: there is room."""
        if self._short:
            log.warning("room for durable frames again", extra={"file": str(self._database)})
        self._short = False

    def prepare(self) -> None:
        """At opening: have the ballast, if there is room."""
        if not self._ballast.make():
            self.fell_short("no room for the ballast")

    def give_up_ballast(self) -> bool:
        """Let go of the last reserve; whether there was one."""
        if self._ballast.size_bytes == 0 or not self._ballast.in_place():
            return False
        self._ballast.give_up()
        return True

    def _free_bytes(self) -> int:
        state = os.statvfs(self._database.parent)
        return state.f_bavail * state.f_frsize
