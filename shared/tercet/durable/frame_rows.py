"""What a journal's transactions do to its rows: take, forget, count tries, put to the dead letters, expire.

Every function runs within a transaction and keeps the ledger in step; all may raise sqlite3.Error. Positions that
are no longer there are passed over: what was asked for has happened, or the frame has expired meanwhile.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from tercet.durable.bounds import Bounds
from tercet.durable.capture_time import CaptureStamp
from tercet.durable.ledger import STAMP_COLUMNS, Ledger
from tercet.durable.settled import is_settled, settle
from tercet.errors import PoisonError, TercetError
from tercet.printable import printable
from tercet.wall_clock import REAL_CLOCK

log = logging.getLogger(__name__)

MAX_ERROR_CHARS = 2000
_CLEARED = "trying = 0, suspect = 0, deaths = 0"
_ROW = f"node, sequence, size_bytes, {STAMP_COLUMNS}, sends"


def is_known(connection: sqlite3.Connection, node: str, sequence: int) -> bool:
    """Whether a frame is held, in the dead-letter box, or done with."""
    for table in ("frames", "dead_letters"):
        if connection.execute(
            f"SELECT 1 FROM {table} WHERE node = ? AND sequence = ?", (node, sequence)
        ).fetchone():
            return True
    return is_settled(connection, node, sequence)


def insert(
    connection: sqlite3.Connection, ledger: Ledger, node: str, sequence: int, sealed: bytes, stamp: CaptureStamp
) -> None:
    """A new frame, behind all others."""
    position = connection.execute(
        f"INSERT INTO frames (node, sequence, size_bytes, {STAMP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (node, sequence, len(sealed), *astuple(stamp)),
    ).lastrowid
    connection.execute("INSERT INTO payloads VALUES (?, ?)", (position, sealed))
    ledger.held(1, len(sealed))
    ledger.count("taken")


def hand_on(connection: sqlite3.Connection, ledger: Ledger, positions: Iterable[int]) -> None:
    """The next holder has these frames."""
    ledger.count("acknowledged", len(_forget(connection, ledger, positions)))


def expire(connection: sqlite3.Connection, ledger: Ledger, positions: Iterable[int], why: str) -> int:
    """Give these frames up; how many were still there."""
    gone = _forget(connection, ledger, positions)
    ledger.expire(why, gone)
    return len(gone)


def _forget(connection: sqlite3.Connection, ledger: Ledger, positions: Iterable[int]) -> list[tuple[str, int]]:
    """This holder is done with these frames; those that were still there, by node and sequence."""
    gone = []
    for position in positions:
        row = connection.execute(
            "SELECT node, sequence, size_bytes FROM frames WHERE position = ?", (position,)
        ).fetchone()
        if row is None:
            continue
        # Before anything is noted of it: on a full disk its pages are what there is to write on.
        connection.execute("DELETE FROM payloads WHERE position = ?", (position,))
        connection.execute("DELETE FROM frames WHERE position = ?", (position,))
        ledger.held(-1, -row[2])
        gone.append((row[0], row[1]))
    settle(connection, gone)
    return gone


def make_way(connection: sqlite3.Connection, ledger: Ledger, bounds: Bounds, size_bytes: int) -> None:
    """Give up the oldest frames until one of `size_bytes` fits, if that is the policy; raises as `Bounds`."""
    excess_bytes = bounds.bytes_to_expire(ledger.bytes, size_bytes)
    if not excess_bytes:
        return
    positions = []
    for position, row_bytes in connection.execute("SELECT position, size_bytes FROM frames ORDER BY position"):
        positions.append(position)
        excess_bytes -= row_bytes
        if excess_bytes <= 0:
            break
    expire(connection, ledger, positions, f"the oldest of more than {bounds.max_bytes} bytes")


def mark_tries(connection: sqlite3.Connection, positions: Sequence[int]) -> None:
    """Frames are about to be tried, together."""
    connection.executemany(
        "UPDATE frames SET trying = ? WHERE position = ?", [(len(positions), place) for place in positions]
    )


def end_tries(connection: sqlite3.Connection, positions: Iterable[int]) -> None:
    """Tries ended and the process lives: none of these frames kills it."""
    connection.executemany(f"UPDATE frames SET {_CLEARED} WHERE position = ?", [(place,) for place in positions])


def count_failure(
    connection: sqlite3.Connection,
    ledger: Ledger,
    bounds: Bounds,
    max_tries: int,
    position: int,
    error: TercetError,
) -> bool:
    """A frame failed by its own fault; True if that was once too often."""
    connection.execute(f"UPDATE frames SET failures = failures + 1, {_CLEARED} WHERE position = ?", (position,))
    row = connection.execute("SELECT failures + deaths FROM frames WHERE position = ?", (position,)).fetchone()
    if row is None or row[0] < max_tries:
        return False
    bury(connection, ledger, bounds, position, error)
    return True


def count_deaths(connection: sqlite3.Connection, ledger: Ledger, bounds: Bounds, max_tries: int) -> list[int]:
    """At opening: tries that the process did not survive. Returns the positions that may be to blame.

    Of several that were tried together most are innocent: only the death of one that was alone is counted.
    """
    connection.execute("UPDATE frames SET suspect = 1, deaths = deaths + (trying = 1), trying = 0 WHERE trying")
    over = connection.execute(
        "SELECT position, deaths FROM frames WHERE deaths AND failures + deaths >= ?", (max_tries,)
    ).fetchall()
    for position, deaths in over:
        error = PoisonError(f"the process died {deaths} times while it was trying this frame alone")
        bury(connection, ledger, bounds, position, error)
    return [row[0] for row in connection.execute("SELECT position FROM frames WHERE suspect ORDER BY position")]


def note_sends(connection: sqlite3.Connection, ledger: Ledger, positions: Sequence[int]) -> None:
    """Frames were sent once more, or for the first time."""
    for position in positions:
        row = connection.execute("SELECT sends FROM frames WHERE position = ?", (position,)).fetchone()
        ledger.count("sent")
        if row is not None:
            ledger.count("redelivered", row[0] > 0)
            connection.execute("UPDATE frames SET sends = sends + 1 WHERE position = ?", (position,))


def bury(connection: sqlite3.Connection, ledger: Ledger, bounds: Bounds, position: int, error: TercetError) -> None:
    """Move a frame to the dead-letter box, whose oldest go if it is too full."""
    connection.execute(
        f"""INSERT INTO dead_letters (position, {_ROW}, tries, died_us, error_kind, error)
            SELECT position, {_ROW}, failures + deaths, ?, ?, ? FROM frames WHERE position = ?""",
        (REAL_CLOCK.now_us(), type(error).__name__, printable(str(error), MAX_ERROR_CHARS), position),
    )
    node, sequence, size_bytes = connection.execute(
        "SELECT node, sequence, size_bytes FROM frames WHERE position = ?", (position,)
    ).fetchone()
    connection.execute("DELETE FROM frames WHERE position = ?", (position,))
    ledger.held(-1, -size_bytes)
    ledger.dead(1, size_bytes)
    ledger.count("dead_lettered")
    log.warning(
        "frame put to the dead letters",
        extra={"frame": f"{node}/{sequence}", "kind": type(error).__name__, "reason": str(error)},
    )
    while ledger.dead_letter_bytes > bounds.max_dead_letter_bytes and ledger.dead_letters > 1:
        _drop_oldest_letter(connection, ledger)


def _drop_oldest_letter(connection: sqlite3.Connection, ledger: Ledger) -> None:
    position, node, sequence, size_bytes = connection.execute(
        "SELECT position, node, sequence, size_bytes FROM dead_letters ORDER BY died_us, position LIMIT 1"
    ).fetchone()
    connection.execute("DELETE FROM payloads WHERE position = ?", (position,))
    connection.execute("DELETE FROM dead_letters WHERE position = ?", (position,))
    settle(connection, [(node, sequence)])
    ledger.dead(-1, -size_bytes)
    ledger.expire("the oldest dead letters", [(node, sequence)])
