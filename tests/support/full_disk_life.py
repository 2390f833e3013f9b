"""A journal on a disk that fills up and is cleared again, step by step; tells as JSON what it saw.

python -m support.full_disk_life FOLDER hog         others fill the disk (a small one: see small_disk)
python -m support.full_disk_life FOLDER early-hog   they do so while frames lie in the log and not in the file yet
python -m support.full_disk_life FOLDER start       the disk is full when the journal is opened
python -m support.full_disk_life FOLDER pages       SQLite may not grow its file (max_page_count)
python -m support.full_disk_life FOLDER file-limit  no file may be larger (RLIMIT_FSIZE)
"""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.durable_frames import STAMP, arrival, sealing
from tercet.durable import database, journal
from tercet.durable.bounds import Bounds
from tercet.durable.journal import Journal, Taken
from tercet.errors import OverloadedError, SpecError
from tercet.limits import MIB

FILE = "journal.db"
BALLAST_BYTES = 2 * MIB
FRAME_BYTES = 100_000
ROOM_BYTES = 6 * MIB
_MOST = 400
# Together less than what starts a checkpoint.
_FEW = 6
_PATIENCE_S = 15.0


class _Hog:
    """Somebody else's file that takes all there is."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "hog"

    def fill(self) -> None:
        with suppress(OSError), self._path.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    def go(self) -> None:
        self._path.unlink(missing_ok=True)


class _PageLimit:
    """SQLite's own limit, set on every connection."""

    def __init__(self) -> None:
        self.pages = 0
        self._connect: Callable[..., sqlite3.Connection] = database.connect
        self._open: list[sqlite3.Connection] = []
        database.connect = journal.connect = self._limited

    def _limited(self, path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        connection = self._connect(path, read_only=read_only)
        connection.execute(f"PRAGMA max_page_count={ROOM_BYTES // database.PAGE_BYTES}")
        self._open.append(connection)
        return connection

    def fill(self) -> None:
        pass

    def go(self) -> None:
        for connection in self._open:
            with suppress(sqlite3.ProgrammingError):
                connection.execute("PRAGMA max_page_count=1000000")


class _FileLimit:
    """The system's limit of a file's size; SQLite sees an I/O error."""

    def __init__(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))

    def fill(self) -> None:
        pass

    def go(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def main(folder: Path, arguments: Sequence[str]) -> None:
    how = arguments[0]
    trouble: _Hog | _PageLimit | _FileLimit
    if how == "start":
        print(json.dumps(asyncio.run(_start_full(folder / FILE, _Hog(folder)))))
        return
    if how == "pages":
        trouble = _PageLimit()
    elif how == "file-limit":
        trouble = _FileLimit()
    else:
        trouble = _Hog(folder)
    most = _FEW if how == "early-hog" else _MOST
    print(json.dumps(asyncio.run(_live(folder / FILE, trouble, most))))


async def _live(path: Path, trouble: _Hog | _PageLimit | _FileLimit, most: int) -> dict[str, Any]:
    saw: dict[str, Any] = {}
    async with Journal.open(path, Bounds(), ballast_bytes=BALLAST_BYTES) as one:
        taken = await _take_until_refused(one, most, saw)
        saw["taken"] = taken
        trouble.fill()
        saw["repeat"] = [str(outcome) for outcome in await one.take([arrival("a", 0)])]
        saw["newer"] = [type(outcome).__name__ for outcome in await one.take([arrival("b", 1, FRAME_BYTES)])]
        try:
            await one.record(sealing("d", bytes(FRAME_BYTES)), STAMP)
        except OverloadedError as error:
            saw["record"] = [str(error), error.retry_after_s]
        await _drain_some(one, taken // 2, trouble)
        saw["ballast while full"] = path.with_name(f"{FILE}.ballast").exists()
        saw["held while full"] = one.held().frames
        trouble.go()
        saw["again"] = await _take_at_last(one, arrival_sequence=taken)
        saw["ballast in the end"] = path.with_name(f"{FILE}.ballast").exists()
        saw["counters"] = one.counters().as_dict()
    async with Journal.open(path, Bounds(), ballast_bytes=BALLAST_BYTES) as one:
        waiting = await one.pending(0, 10_000, 1 << 40)
        saw["left"] = [entry.sequence for entry in waiting]
        saw["whole"] = all(entry.sealed == arrival("a", entry.sequence, FRAME_BYTES).sealed for entry in waiting)
    return saw


async def _start_full(path: Path, hog: _Hog) -> dict[str, Any]:
    async with Journal.open(path, Bounds(), ballast_bytes=BALLAST_BYTES) as one:
        await one.take([arrival("a", sequence, FRAME_BYTES) for sequence in range(4)])
    hog.fill()
    saw = {"with ballast": await _start(path)}
    path.with_name(f"{FILE}.ballast").unlink(missing_ok=True)
    hog.fill()
    saw["without"] = await _start(path)
    hog.go()
    saw["with room"] = await _start(path)
    return saw


async def _start(path: Path) -> str:
    """What a start on the full disk came to."""
    try:
        async with Journal.open(path, Bounds(), ballast_bytes=BALLAST_BYTES) as one:
            (entry,) = await one.pending(0, 1, 1)
            await one.handed_on([entry.position])
            return "handed one on"
    except OverloadedError as error:
        return str(error)


async def _take_until_refused(one: Journal, most: int, saw: dict[str, Any]) -> int:
    for sequence in range(most):
        (outcome,) = await one.take([arrival("a", sequence, FRAME_BYTES)])
        if outcome is not Taken.NEW:
            saw["refusal"] = [type(outcome).__name__, str(outcome), getattr(outcome, "retry_after_s", None)]
            return sequence
    return most


async def _drain_some(one: Journal, frames: int, trouble: _Hog | _PageLimit | _FileLimit) -> None:
    """As a sender would, one by one; the first fails by its own fault until it is put aside."""
    first = (await one.pending(0, 1, 1))[0].position
    while not await one.failed(first, SpecError("bad")):
        pass
    for place in range(frames):
        if place % 10 == 9:
            trouble.fill()
        (entry,) = await one.pending(0, 1, 1)
        await one.began([entry.position])
        await one.ended([entry.position])
        await one.sent([entry.position])
        await one.handed_on([entry.position])


async def _take_at_last(one: Journal, *, arrival_sequence: int) -> bool:
    """There is room again: how soon depends on when the journal looks."""
    async with asyncio.timeout(_PATIENCE_S):
        while (await one.take([arrival("a", arrival_sequence, FRAME_BYTES)]))[0] is not Taken.NEW:
            await asyncio.sleep(0.1)
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
