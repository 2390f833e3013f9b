"""Frames on a disk until the next holder has them: what a device, an edge or a cloud was given and acknowledged.

Every method that changes something returns once the change is on the disk; many callers share one fsync
(`group_commit`). What was acknowledged is found again after a kill or a power cut, in order of acceptance and byte
for byte, until it is handed on, expires by a named bound, or lies in the dead-letter box.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeVar

from tercet.durable import frame_rows
from tercet.durable.ballast import BALLAST_BYTES, DiskRoom
from tercet.durable.bounds import Bounds, surely_older
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.capture_time import CaptureStamp
from tercet.durable.counters import Counters, Held
from tercet.durable.database import (
    closed,
    connect,
    make_database,
    no_room,
    open_database,
    translated,
)
from tercet.durable.group_commit import GroupCommit
from tercet.durable.journal_tables import JOURNAL, fill_journal
from tercet.durable.ledger import Ledger
from tercet.durable.serving_lock import ServingLock
from tercet.durable.taking import Arrival, Taken, record_one, take_all
from tercet.durable.waiting import Entry, read_entries, read_old
from tercet.errors import OverloadedError, PoisonError, TercetError, UnavailableError

__all__ = ["Arrival", "Entry", "Journal", "Taken"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class Journal:
    """For one event loop; all methods may be called concurrently. Made by `open`, used within `async with`.

    Every method raises IntegrityError if the file turns out to be damaged, and UnavailableError if it cannot be
    written for now or is closed. If a method is cancelled, what it was to do is done as a whole or not at all.

    Attributes:
        arrived: set when there may be something new to hand on; whoever waits for it clears it.
        suspects: positions of frames whose last try the process did not survive, as of opening: try them one at a
            time. That counts as a try of a frame that was tried alone.
    """

    def __init__(
        self,
        path: Path,
        bounds: Bounds,
        max_tries: int,
        lock: ServingLock,
        writer: sqlite3.Connection,
        room: DiskRoom,
        clock: CaptureClock,
    ) -> None:
        self.path, self.bounds = path, bounds
        self._clock = clock
        self.arrived = asyncio.Event()
        self._max_tries = max_tries
        self._room = room
        self._commits = GroupCommit(path, writer, room, on_change=self.arrived.set, on_end=lock.release)
        self._reader: sqlite3.Connection | None = None
        self._reads = ThreadPoolExecutor(1, thread_name_prefix=f"read-{path.name}")
        self.suspects: frozenset[int] = frozenset()

    @classmethod
    def open(
        cls,
        path: Path,
        bounds: Bounds,
        *,
        max_tries: int = 3,
        ballast_bytes: int = BALLAST_BYTES,
        clock: CaptureClock | None = None,
    ) -> Journal:
        """Open the journal in `path`, or make it where there is none.

        Args:
            max_tries: after so many failed tries a frame goes to the dead letters.
            ballast_bytes: of the file that is given up when the disk is full; 0: none.
            clock: tells how old frames are; unless given, one that knows what lies in the journal's folder.

        Raises:
            IntegrityError: the file is damaged; nothing was changed.
            SpecError: it was written by a newer version.
            UnavailableError: another process serves it.
            OverloadedError: the disk is full to the last block.
            SettingsError: the folder cannot be written to.
        """
        lock = ServingLock(path)
        try:
            if not path.exists():
                make_database(path, JOURNAL, fill_journal)
            room = DiskRoom(path, ballast_bytes)
            writer = _open_with_room(path, room)
            try:
                room.prepare()
                journal = cls(path, bounds, max_tries, lock, writer, room, clock or CaptureClock(path.parent))
                journal.suspects = frozenset(journal._count_deaths())
                journal._reader = connect(path, read_only=True)
            except BaseException:
                writer.close()
                raise
        except sqlite3.Error as error:
            lock.release()
            raise translated(error, path) from error
        except BaseException:
            lock.release()
            raise
        return journal

    async def __aenter__(self) -> Journal:
        self._commits.start()
        if self.load().frames:
            self.arrived.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit what waits and let go of the file, whose log is then empty. Again: nothing."""
        self._reads.shutdown(wait=True)
        # Before the writer: the last connection tidies up, and this one may not write.
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        await self._commits.stop()

    # --- taking frames in

    async def record(self, seal: Callable[[int], bytes], captured: CaptureStamp) -> int:
        """Keep a frame of this node's own; returns the sequence it got, once it is on the disk.

        Args:
            seal: gives the sealed frame for a sequence. Called at most once, in the writer's thread; what it
                raises, this raises, and no sequence is used up.

        Raises:
            OverloadedError: the bounds or a full disk refuse it; `retry_after_s` says when to try again.
            FrameTooLargeError: it never fits.
        """

        def work(connection: sqlite3.Connection, ledger: Ledger) -> int:
            return record_one(connection, ledger, seal, captured, self._admit)

        sequence = await self._commits.run(work, without_room=self._refuse)
        self.arrived.set()
        return sequence

    async def take(self, arrivals: Sequence[Arrival]) -> list[Taken | TercetError]:
        """Keep frames of others; what became of each, in order, once all that are kept are on the disk.

        A frame that is refused for now has the later ones of its node refused as well, so that order is kept:
        OverloadedError. One that never fits: FrameTooLargeError.
        """

        def work(connection: sqlite3.Connection, ledger: Ledger) -> list[Taken | TercetError]:
            return take_all(connection, ledger, arrivals, self._admit)

        def refuse(connection: sqlite3.Connection, ledger: Ledger) -> list[Taken | TercetError]:
            return take_all(connection, ledger, arrivals, self._refuse)

        size_bytes = sum(len(arrival.sealed) for arrival in arrivals)
        try:
            outcomes = await self._commits.run(work, without_room=refuse, size_bytes=size_bytes)
        except UnavailableError as error:
            return [error] * len(arrivals)
        if Taken.NEW in outcomes:
            self.arrived.set()
        return outcomes

    def _admit(self, connection: sqlite3.Connection, ledger: Ledger, size_bytes: int) -> None:
        """Have room for a frame, or raise. Room on the disk first: nothing expires for a frame that is refused."""
        self._room.admit(size_bytes)
        frame_rows.make_way(connection, ledger, self.bounds, size_bytes)

    def _refuse(self, *_: object) -> NoReturn:
        raise no_room(self.path, "the disk is full")

    # --- handing frames on

    async def pending(self, after: int, max_frames: int, max_bytes: int) -> list[Entry]:
        """Frames that wait, in order of acceptance, from the first behind position `after`; 0: from the start.

        Returns:
            up to `max_frames` of up to `max_bytes` together, but at least one if there is one. A frame whose bytes
            on the disk are damaged is passed over and logged; IntegrityError if there is no other.
        """
        return await self._read(lambda reader: read_entries(reader, self.path, after, max_frames, max_bytes))

    async def sent(self, positions: Sequence[int]) -> None:
        """Frames were sent: counted, and as redelivered if they had been sent before.

        Returns at once and is committed before anything that is asked for later; a kill may cost the last counts.
        """
        places = tuple(positions)
        self._commits.run_later(lambda connection, ledger: frame_rows.note_sends(connection, ledger, places))

    async def handed_on(self, positions: Sequence[int]) -> None:
        """The next holder has these frames on its disk: they are forgotten, and a repeat of one is a duplicate."""
        places = tuple(positions)

        def work(connection: sqlite3.Connection, ledger: Ledger) -> None:
            frame_rows.hand_on(connection, ledger, places)

        await self._commits.run(work)

    # --- tries

    async def began(self, positions: Sequence[int]) -> None:
        """These frames are about to be tried, together; if the process dies before `ended`, they are suspects."""
        places = tuple(positions)
        await self._commits.run(lambda connection, ledger: frame_rows.mark_tries(connection, places))

    async def ended(self, positions: Sequence[int]) -> None:
        """The tries are over, whatever came of them, and the process lives: deaths no longer count."""
        places = tuple(positions)
        await self._commits.run(lambda connection, ledger: frame_rows.end_tries(connection, places))

    async def failed(self, position: int, error: TercetError) -> bool:
        """A try failed by the frame's own fault; True if it went to the dead letters.

        An UnavailableError is never the frame's fault and counts no try. A PoisonError is the last try: who says
        so has made all of them, and died of each.
        """
        if isinstance(error, UnavailableError):
            await self.ended([position])
            return False
        max_tries = 1 if isinstance(error, PoisonError) else self._max_tries
        return await self._commits.run(
            lambda connection, ledger: frame_rows.count_failure(
                connection, ledger, self.bounds, max_tries, position, error
            )
        )

    def _count_deaths(self) -> list[int]:
        """In `open`, before there is a writer thread."""
        return self._commits.run_now(
            lambda connection, ledger: frame_rows.count_deaths(connection, ledger, self.bounds, self._max_tries)
        )

    # --- what is there

    async def expire(self) -> int:
        """Give up the frames that are surely over the age limit; how many they were."""
        limit_s = self.bounds.max_age_s
        if limit_s is None:
            return 0
        now = self._clock.now()
        stamps = await self._read(lambda reader: read_old(reader, now, limit_s))
        aged = []
        for place, (position, stamp) in enumerate(stamps):
            if surely_older(limit_s, stamp, now, self._clock.age(stamp)):
                aged.append(position)
            if place % 1000 == 999:
                await asyncio.sleep(0)
        if not aged:
            return 0

        def work(connection: sqlite3.Connection, ledger: Ledger) -> int:
            return frame_rows.expire(connection, ledger, aged, f"older than {limit_s:g} s")

        return await self._commits.run(work)

    def held(self) -> Held:
        """What waits now, as of the last commit."""
        totals = self._commits.ledger.published
        if totals.oldest is None:
            return totals.held
        age_ms, _ = self._clock.age(totals.oldest)
        return replace(totals.held, oldest_age_s=age_ms / 1000)

    def load(self) -> Held:
        """As `held`, without the age; may be asked from any thread."""
        return self._commits.ledger.published.held

    def counters(self) -> Counters:
        """What happened since the file was made, as of the last commit; may be asked from any thread."""
        return self._commits.ledger.published.counters

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the reader's thread: it sees what is committed, and waits for no fsync."""

        def guarded() -> T:
            if self._reader is None:
                raise closed(self.path)
            try:
                return work(self._reader)
            except sqlite3.Error as error:
                raise translated(error, self.path) from error

        try:
            reading = asyncio.get_running_loop().run_in_executor(self._reads, guarded)
        except RuntimeError as error:  # of an executor that was shut down
            raise closed(self.path) from error
        return await reading


def _open_with_room(path: Path, room: DiskRoom) -> sqlite3.Connection:
    try:
        return open_database(path, JOURNAL)
    except OverloadedError:
        if not room.give_up_ballast():
            raise
        return open_database(path, JOURNAL)
