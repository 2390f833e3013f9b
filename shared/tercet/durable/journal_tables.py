"""The tables of a journal of durable frames.

frames        waiting for the next holder, in order of acceptance; `position` is never used again; `trying` is how
              many are being tried together with it, itself included
payloads      the sealed bytes of frames and dead letters, apart, so that counting a try rewrites no payload
dead_letters  frames that failed by their own fault too often
settled       runs of sequences, by node, that were handed on or expired: a repeat of one is a duplicate
counters      what happened, in the same transaction as it happened
own           the sequence that the next frame of this node gets
"""

from __future__ import annotations

import secrets
import sqlite3

from tercet.durable.counters import Counters
from tercet.durable.database import Schema

# A fresh journal draws its epoch: two of one node, or one on a disk that was replaced, never share a sequence.
EPOCH_BITS = 20
COUNTER_BITS = 32

_FRAME = """
    node TEXT NOT NULL, sequence INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    wall_us INTEGER NOT NULL, boottime_us INTEGER NOT NULL, boot_id TEXT NOT NULL, age_source TEXT NOT NULL,
    sends INTEGER NOT NULL DEFAULT 0
"""

JOURNAL = Schema(
    application_id=0x54434A31,  # "TCJ1"
    version=1,
    statements=(
        f"""CREATE TABLE frames (
            position INTEGER PRIMARY KEY AUTOINCREMENT, {_FRAME},
            failures INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
            trying INTEGER NOT NULL DEFAULT 0, suspect INTEGER NOT NULL DEFAULT 0,
            UNIQUE (node, sequence))""",
        "CREATE TABLE payloads (position INTEGER PRIMARY KEY, sealed BLOB NOT NULL)",
        f"""CREATE TABLE dead_letters (
            position INTEGER PRIMARY KEY, {_FRAME},
            tries INTEGER NOT NULL, died_us INTEGER NOT NULL, error_kind TEXT NOT NULL, error TEXT NOT NULL,
            UNIQUE (node, sequence))""",
        """CREATE TABLE settled (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            node TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL)""",
        "CREATE UNIQUE INDEX settled_first ON settled (node, first)",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE own (next_sequence INTEGER NOT NULL)",
    ),
    checked=("frames", "dead_letters", "settled", "counters", "own"),
)


def fill_journal(connection: sqlite3.Connection) -> None:
    """The first content of a new journal."""
    connection.executemany("INSERT INTO counters VALUES (?, 0)", [(name,) for name in Counters.names()])
    epoch = secrets.randbits(EPOCH_BITS)
    connection.execute("INSERT INTO own VALUES (?)", ((epoch << COUNTER_BITS) + 1,))
