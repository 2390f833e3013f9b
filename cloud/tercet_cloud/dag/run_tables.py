"""The tables that runs of pipelines are kept in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

from tercet_cloud.database_schema import Schema

Row = dict[str, Any]
_metadata = MetaData()

runs = Table(
    "tercet_pipeline_runs",
    _metadata,
    Column("run", String, primary_key=True),
    Column("pipeline", String, nullable=False),
    # The pipeline as JSON: a run goes on with the pipeline it began with.
    Column("spec", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("submitted_s", Float, nullable=False),
    # Who submitted it made this up, so that the same submission is known when it comes again.
    Column("submission", String, nullable=False, default=""),
    Column("started_s", Float),
    Column("ended_s", Float),
    Column("reason", Text, nullable=False, default=""),
    Column("partial", Boolean, nullable=False, default=False),
    Column("priority", Integer),
    Column("deadline_at_s", Float),
    # Who works on it, and a count that goes on while that one lives.
    Column("owner", String, nullable=False, default=""),
    Column("beat", Integer, nullable=False, default=0),
    # Folders that its functions are imported from, as JSON: whoever goes on with it elsewhere wants them.
    Column("import_paths", Text, nullable=False, default="[]"),
    Index("tercet_pipeline_runs_by_state", "state", "submitted_s"),
)

nodes = Table(
    "tercet_pipeline_nodes",
    _metadata,
    Column("run", String, primary_key=True),
    Column("node", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_s", Float),
    Column("ended_s", Float),
    Column("reason", Text, nullable=False),
    Column("items", Integer),
    Column("troubles", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("busy_s", Float, nullable=False, default=0.0),
)

items = Table(
    "tercet_pipeline_items",
    _metadata,
    Column("run", String, primary_key=True),
    Column("node", String, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_s", Float),
    Column("ended_s", Float),
    Column("reason", Text, nullable=False),
)

# A result: its bytes, or where they lie in the folder. Items of a node that does not map are -1.
values = Table(
    "tercet_pipeline_values",
    _metadata,
    Column("run", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("data", LargeBinary),
    Column("address", String, nullable=False),
)

# What somebody wants to be given up: a node, or * for the whole run. A wish stays until what came of it is written.
cancels = Table(
    "tercet_pipeline_cancels",
    _metadata,
    Column("run", String, primary_key=True),
    Column("node", String, primary_key=True),
)

_UPGRADES = {
    1: (
        "ALTER TABLE tercet_pipeline_runs ADD COLUMN import_paths TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE tercet_pipeline_runs ADD COLUMN submission VARCHAR NOT NULL DEFAULT ''",
        "INSERT INTO tercet_pipeline_cancels SELECT run, cancel FROM tercet_pipeline_runs WHERE cancel <> ''",
        "ALTER TABLE tercet_pipeline_runs DROP COLUMN cancel",
        "ALTER TABLE tercet_pipeline_values DROP COLUMN length",
    ),
}
SCHEMA = Schema("pipeline runs", 2, _metadata, upgrades=_UPGRADES)
EVERY = (runs, nodes, items, values, cancels)
