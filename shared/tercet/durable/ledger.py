"""The running totals of one journal within its writer thread: counters and what is held.

A transaction works on them as on the file: each request's changes are kept or undone with it, and what a commit
made true is published for other threads.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from tercet.durable.capture_time import AgeSource, CaptureStamp
from tercet.durable.counters import Counters, Held, read_counters, write_counters
from tercet.durable.database import number
from tercet.durable.settled import runs

log = logging.getLogger(__name__)

STAMP_COLUMNS = "wall_us, boottime_us, boot_id, age_source"


# Runs of expired frames that a line of the log names; others are in its number only.
NAMED_RUNS = 50


@dataclass(frozen=True)
class Mark:
    """A point that a ledger can come back to."""

    counts: dict[str, int]
    totals: tuple[int, int, int, int]
    expired: int


@dataclass(frozen=True)
class Totals:
    """As of one commit. `oldest` is the stamp of the frame that has waited longest."""

    counters: Counters
    held: Held
    oldest: CaptureStamp | None


class Ledger:
    """Used by the writer thread alone, but for `published`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Of new frames, as long as the process runs: what the log has grown by, at most.
        self.written_bytes = 0
        # Since the last commit: why, node, sequence.
        self._expired: list[tuple[str, str, int]] = []
        self.reload()
        self.published = self._totals()

    def reload(self) -> None:
        """Count anew: at the start, after a rollback, after another process has written. Raises sqlite3.Error."""
        self._counts = read_counters(self._connection)
        self._written = dict(self._counts)
        self._expired.clear()
        self.frames, self.bytes = self._sum("frames")
        self.dead_letters, self.dead_letter_bytes = self._sum("dead_letters")

    def count(self, name: str, by: int = 1) -> None:
        self._counts[name] += by

    def held(self, frames: int, size_bytes: int) -> None:
        """More is held by so much; less, if negative."""
        self.frames += frames
        self.bytes += size_bytes
        self.written_bytes += max(0, size_bytes)

    def dead(self, frames: int, size_bytes: int) -> None:
        """As `held`, in the dead-letter box."""
        self.dead_letters += frames
        self.dead_letter_bytes += size_bytes

    def expire(self, why: str, keys: Iterable[tuple[str, int]]) -> None:
        """Frames are given up, by node and sequence: counted, and named in the log once that is committed."""
        before = len(self._expired)
        self._expired += [(why, *key) for key in keys]
        self.count("expired", len(self._expired) - before)

    def mark(self) -> Mark:
        """A point to come back to by `undo`."""
        totals = (self.frames, self.bytes, self.dead_letters, self.dead_letter_bytes)
        return Mark(dict(self._counts), totals, len(self._expired))

    def undo(self, mark: Mark) -> None:
        self._counts = dict(mark.counts)
        self.frames, self.bytes, self.dead_letters, self.dead_letter_bytes = mark.totals
        del self._expired[mark.expired :]

    def write(self) -> None:
        """Into the transaction, before its commit. Raises sqlite3.Error."""
        changed = [(name, value) for name, value in self._counts.items() if self._written.get(name) != value]
        if changed:
            write_counters(self._connection, changed)
        self._pending = self._totals()

    def publish(self) -> None:
        """The commit has succeeded."""
        self._written = dict(self._counts)
        self.published = self._pending
        for why in sorted({entry[0] for entry in self._expired}):
            keys = [entry[1:] for entry in self._expired if entry[0] == why]
            log.warning("frames expired", extra={"why": why, "frames": len(keys), "which": _in_words(keys)})
        self._expired.clear()

    def refresh(self) -> None:
        """Count anew and publish, outside a transaction. Raises sqlite3.Error."""
        self.reload()
        self.published = self._totals()

    def _totals(self) -> Totals:
        row = self._connection.execute(f"SELECT {STAMP_COLUMNS} FROM frames ORDER BY position LIMIT 1").fetchone()
        held = Held(self.frames, self.bytes, None, self.dead_letters, self.dead_letter_bytes)
        return Totals(Counters(**self._counts), held, None if row is None else stamp_of_row(*row))

    def _sum(self, table: str) -> tuple[int, int]:
        return (
            number(self._connection, f"SELECT count(*) FROM {table}"),
            number(self._connection, f"SELECT coalesce(sum(size_bytes), 0) FROM {table}"),
        )


def _in_words(keys: Iterable[tuple[str, int]]) -> str:
    """Such as `cam-1/3-17 cam-2/5`."""
    found = runs(keys)
    words = [f"{node}/{first}" if first == last else f"{node}/{first}-{last}" for node, first, last in found]
    return " ".join(words[:NAMED_RUNS] + ["…"] * (len(words) > NAMED_RUNS))


def stamp_of_row(wall_us: int, boottime_us: int, boot_id: str, source: str) -> CaptureStamp:
    """From STAMP_COLUMNS."""
    known = AgeSource(source) if source in set(AgeSource) else AgeSource.UNKNOWN
    return CaptureStamp(wall_us, boottime_us, boot_id, known)
