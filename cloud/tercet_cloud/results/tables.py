"""The tables of the result store, alike on every database."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
)

from tercet_cloud.database_schema import Schema

_tables = MetaData()
ONLY_ROW = 1

results = Table(
    "tercet_results",
    _tables,
    Column("node", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    # In order of storing, without gaps until results expire; never used twice.
    Column("position", BigInteger, nullable=False, unique=True),
    Column("model", String, nullable=False),
    Column("plan", String, nullable=False),
    Column("outputs", LargeBinary, nullable=False),
    Column("label", String),
    Column("confidence", Float),
    Column("degraded", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("captured_unix_us", BigInteger, nullable=False),
    Column("age_source", String, nullable=False),
    Column("received_unix_us", BigInteger, nullable=False),
    # A later one of the same device and epoch was stored before.
    Column("late", Boolean, nullable=False),
    Index("tercet_results_by_receipt", "received_unix_us"),
)

# The highest sequence stored of each device and epoch.
epochs = Table(
    "tercet_result_epochs",
    _tables,
    Column("node", String, primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("highest", BigInteger, nullable=False),
)

# Keys of results that expired: a repeat of such a frame is a duplicate still.
expired = Table(
    "tercet_result_expired",
    _tables,
    Column("node", String, primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
)

# Frames whose computing began and has not ended: see `ResultStore.began`.
attempts = Table(
    "tercet_result_attempts",
    _tables,
    Column("node", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("tries", Integer, nullable=False),
)

# One row, which every transaction that writes locks first: so they come one after another, as `position` says.
tallies = Table(
    "tercet_result_tallies",
    _tables,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last_position", BigInteger, nullable=False),
    Column("taken", BigInteger, nullable=False),
    Column("redelivered", BigInteger, nullable=False),
    Column("deduplicated", BigInteger, nullable=False),
    Column("out_of_order", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
    Column("held_frames", BigInteger, nullable=False),
    Column("held_bytes", BigInteger, nullable=False),
)

SCHEMA = Schema(
    "results",
    1,
    _tables,
    rows=(insert(tallies).values({column.name: 0 for column in tallies.c} | {"id": ONLY_ROW}),),
)
