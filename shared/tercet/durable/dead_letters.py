"""The dead-letter box: frames that failed by their own fault too often, kept for people to look at and to retry.

Read and emptied by `tercet dlq`, also while the process that fills it runs: SQLite keeps them apart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tercet.durable.capture_time import CaptureStamp
from tercet.durable.database import check_kind, connect, translated
from tercet.durable.journal_tables import JOURNAL
from tercet.durable.ledger import STAMP_COLUMNS, stamp_of_row
from tercet.errors import NotFoundError
from tercet.identifiers import NodeId


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
    """Of the journal in `path`. Use within `opened`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection

    @classmethod
    @contextmanager
    def opened(cls, path: Path, *, read_only: bool) -> Iterator[DeadLetterBox]:
        """A box for as long as entered.

        Raises, then or within:
            IntegrityError: not a journal, or damaged.
            SpecError: of a newer version.
            OverloadedError, UnavailableError: no room, or locked for too long.
            SettingsError: no access.
        """
        try:
            connection = connect(path, read_only=read_only)
            try:
                check_kind(connection, path, JOURNAL)
                yield cls(path, connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise translated(error, path) from error

    def letters(self) -> list[DeadLetter]:
        """All, the oldest first."""
        return [_letter(row) for row in self._connection.execute(f"{_SELECT} ORDER BY died_us, position")]

    def letter(self, node: str, sequence: int) -> DeadLetter:
        """One; NotFoundError if it is not there."""
        row = self._connection.execute(f"{_SELECT} WHERE node = ? AND sequence = ?", (node, sequence)).fetchone()
        if row is None:
            raise NotFoundError(
                f"{node}/{sequence} is not among the dead letters of {self.path}: see `tercet dlq list`"
            )
        return _letter(row)

    def sealed(self, letter: DeadLetter) -> bytes:
        """A letter's frame, as it was sealed."""
        row = self._connection.execute(
            "SELECT sealed FROM dead_letters JOIN payloads USING (position) WHERE node = ? AND sequence = ?",
            (letter.node, letter.sequence),
        ).fetchone()
        if row is None:
            raise NotFoundError(
                f"{letter.key} has gone from the dead letters of {self.path}: it was retried or expired"
            )
        return bytes(row[0])

    def retry(self, letter: DeadLetter) -> bool:
        """Put a frame behind all that wait, with no try counted; False if it has gone meanwhile."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            key = (letter.node, letter.sequence)
            row = execute("SELECT position FROM dead_letters WHERE node = ? AND sequence = ?", key).fetchone()
            if row is not None:
                position = execute(
                    f"""INSERT INTO frames (node, sequence, size_bytes, {STAMP_COLUMNS}, sends)
                        SELECT node, sequence, size_bytes, {STAMP_COLUMNS}, sends
                        FROM dead_letters WHERE position = ?""",
                    row,
                ).lastrowid
                execute("UPDATE payloads SET position = ? WHERE position = ?", (position, *row))
                execute("DELETE FROM dead_letters WHERE position = ?", row)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        return row is not None


_SELECT = f"""SELECT node, sequence, size_bytes, {STAMP_COLUMNS}, sends, tries, died_us, error_kind, error
    FROM dead_letters"""


def _letter(row: tuple[str, int, int, int, int, str, str, int, int, int, str, str]) -> DeadLetter:
    node, sequence, size_bytes, *rest = row
    wall_us, boottime_us, boot_id, source, sends, tries, died_us, kind, error = rest
    stamp = stamp_of_row((wall_us, boottime_us, boot_id, source))  # type: ignore[arg-type]
    return DeadLetter(NodeId(node), sequence, size_bytes, stamp, sends, tries, died_us, kind, error)  # type: ignore[arg-type]
