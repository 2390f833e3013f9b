"""The dead-letter box: frames that failed by their own fault too often, kept for people to look at and to retry.

Read and emptied by `tercet dlq`, also while the process that fills it runs: SQLite keeps them apart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tercet.durable.capture_time import CaptureStamp
from tercet.durable.database import check_kind, connect, translated
from tercet.durable.journal_tables import JOURNAL
from tercet.durable.ledger import STAMP_COLUMNS, stamp_of_row
from tercet.errors import NotFoundError
from tercet.identifiers import NodeId

# sqlite.org, "Database File Format".
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_APPLICATION_ID = slice(68, 72)


@dataclass(frozen=True)
class DeadLetter:
    """One frame in the box. `died_us`: wall clock, microseconds since 1970."""

    node: NodeId
    sequence: int
    size_bytes: int
    captured: CaptureStamp
    sends: int
    tries: int
    died_us: int
    error_kind: str
    error: str

    @property
    def key(self) -> str:
        return f"{self.node}/{self.sequence}"


class DeadLetterBox:
    """Of the journal in `path`, open while entered.

    Entering and every method raise IntegrityError for a file that is damaged or no journal, SpecError for one of
    another version, SettingsError without access, OverloadedError and UnavailableError if there is no room to write
    or another process keeps the file locked.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        with self._translated():
            self._connection = connect(path, read_only=read_only)
            try:
                check_kind(self._connection, path, JOURNAL)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> DeadLetterBox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @classmethod
    def is_in(cls, path: Path) -> bool:
        """Whether a file is a journal, and has a box; by its header. Raises OSError.

        Not in the process that serves it: closing any descriptor of the file undoes SQLite's locks there.
        """
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        kind = int.from_bytes(header[_APPLICATION_ID], "big")
        return header.startswith(_MAGIC) and kind == JOURNAL.application_id

    def letters(self) -> list[DeadLetter]:
        """All, the oldest first."""
        with self._translated():
            return [_letter(row) for row in self._connection.execute(f"{_SELECT} ORDER BY died_us, position")]

    def sealed(self, letter: DeadLetter) -> bytes:
        """A letter's frame, as it was sealed. NotFoundError if it has gone meanwhile."""
        with self._translated():
            row = self._connection.execute(
                "SELECT sealed FROM dead_letters JOIN payloads USING (position) WHERE node = ? AND sequence = ?",
                (letter.node, letter.sequence),
            ).fetchone()
        if row is None:
            raise NotFoundError(f"{letter.key} is no longer in {self.path}: it was retried, or has expired")
        return bytes(row[0])

    def retry(self, letter: DeadLetter) -> bool:
        """Put a frame behind all that wait, with no try counted; False if it has gone meanwhile."""
        execute = self._connection.execute
        with self._translated():
            execute("BEGIN IMMEDIATE")
            try:
                there = self._put_back(letter)
                execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                raise
        return there

    def _put_back(self, letter: DeadLetter) -> bool:
        execute = self._connection.execute
        key = (letter.node, letter.sequence)
        row = execute("SELECT position FROM dead_letters WHERE node = ? AND sequence = ?", key).fetchone()
        if row is None:
            return False
        position = execute(
            f"""INSERT INTO frames (node, sequence, size_bytes, {STAMP_COLUMNS}, sends)
                SELECT node, sequence, size_bytes, {STAMP_COLUMNS}, sends FROM dead_letters WHERE position = ?""",
            row,
        ).lastrowid
        execute("UPDATE payloads SET position = ? WHERE position = ?", (position, *row))
        execute("DELETE FROM dead_letters WHERE position = ?", row)
        return True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translated(error, self.path) from error


_SELECT = f"""SELECT node, sequence, size_bytes, {STAMP_COLUMNS}, sends, tries, died_us, error_kind, error
    FROM dead_letters"""


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    node, sequence, size_bytes, *stamp, sends, tries, died_us, kind, error = row
    return DeadLetter(NodeId(node), sequence, size_bytes, stamp_of_row(*stamp), sends, tries, died_us, kind, error)
