"""Frames that wait for the next holder, as a reader of the file sees them."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from tercet.durable.capture_time import CaptureStamp
from tercet.durable.database import damaged, is_damage
from tercet.durable.ledger import STAMP_COLUMNS, stamp_of_row
from tercet.identifiers import NodeId

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A frame that waits. `position` ascends in order of acceptance and is never used again.

    Args:
        tries: how often it failed by its own fault, or took the process down when tried alone.
        sends: how often it was sent to the next holder.
    """

    position: int
    node: NodeId
    sequence: int
    sealed: bytes = field(repr=False)
    captured: CaptureStamp
    tries: int
    sends: int


def read_entries(
    reader: sqlite3.Connection, path: Path, after: int, max_frames: int, max_bytes: int
) -> list[Entry]:
    """See `Journal.pending`. All of one moment. Raises sqlite3.Error, and IntegrityError if none can be read."""
    entries: list[Entry] = []
    damage: list[int] = []
    room_bytes = max_bytes
    reader.execute("BEGIN")
    try:
        rows = reader.execute(
            f"""SELECT position, node, sequence, size_bytes, failures + deaths, sends, {STAMP_COLUMNS}
                FROM frames WHERE position > ? ORDER BY position LIMIT ?""",
            (after, max_frames),
        )
        for position, node, sequence, size_bytes, tries, sends, *stamp in rows:
            room_bytes -= size_bytes
            if entries and room_bytes < 0:
                break
            sealed = _payload(reader, position, size_bytes)
            if sealed is None:
                damage.append(position)
                continue
            entries.append(Entry(position, NodeId(node), sequence, sealed, stamp_of_row(*stamp), tries, sends))
    finally:
        reader.execute("COMMIT")
    if damage:
        log.error("durable frames damaged", extra={"file": str(path), "positions": damage})
        if not entries:
            raise damaged(path, f"{len(damage)} frames cannot be read")
    return entries


def read_old(reader: sqlite3.Connection, now: CaptureStamp, limit_s: float) -> list[tuple[int, CaptureStamp]]:
    """Positions and stamps: of this boot's frames only those over the limit by their stamp, of others' all."""
    rows = reader.execute(
        f"SELECT position, {STAMP_COLUMNS} FROM frames WHERE boot_id != ? OR boottime_us < ? ORDER BY position",
        (now.boot_id, now.boottime_us - round(limit_s * 1e6)),
    )
    return [(position, stamp_of_row(*stamp)) for position, *stamp in rows]


def _payload(reader: sqlite3.Connection, position: int, size_bytes: int) -> bytes | None:
    """A frame's bytes; None if they are not all there."""
    try:
        row = reader.execute("SELECT sealed FROM payloads WHERE position = ?", (position,)).fetchone()
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return None
    return row[0] if row is not None and len(row[0]) == size_bytes else None
