"""Which frames of others a holder is done with, so that a late repeat of one is told apart from a new frame.

Exact and small: sequences of one node are settled nearly in order, so that they make few runs. Of each node the
runs that were touched last are kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from tercet.durable.database import number

KEPT_RUNS = 64


def is_settled(connection: sqlite3.Connection, node: str, sequence: int) -> bool:
    """Raises sqlite3.Error."""
    row = connection.execute(
        "SELECT last FROM settled WHERE node = ? AND first <= ? ORDER BY first DESC LIMIT 1", (node, sequence)
    ).fetchone()
    return row is not None and sequence <= row[0]


def settle(connection: sqlite3.Connection, keys: Iterable[tuple[str, int]]) -> None:
    """Remember frames, by node and sequence. Raises sqlite3.Error."""
    for node, first, last in runs(keys):
        touching = connection.execute(
            "SELECT id, first, last FROM settled WHERE node = ? AND first <= ? AND last >= ?",
            (node, last + 1, first - 1),
        ).fetchall()
        connection.executemany("DELETE FROM settled WHERE id = ?", [(row[0],) for row in touching])
        connection.execute(
            "INSERT INTO settled (node, first, last) VALUES (?, ?, ?)",
            (node, min([first, *(row[1] for row in touching)]), max([last, *(row[2] for row in touching)])),
        )
        if not touching and number(connection, "SELECT count(*) FROM settled WHERE node = ?", node) > KEPT_RUNS:
            connection.execute(
                "DELETE FROM settled WHERE id = (SELECT min(id) FROM settled WHERE node = ?)", (node,)
            )


def runs(keys: Iterable[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Node, first and last of every run of sequences without a gap."""
    found: list[tuple[str, int, int]] = []
    for node, sequence in sorted(set(keys)):
        if found and found[-1][0] == node and found[-1][2] + 1 == sequence:
            found[-1] = (node, found[-1][1], sequence)
        else:
            found.append((node, sequence, sequence))
    return found
