"""A kept run as it is read: its record, its pipeline, and what of it need not be run again.

A node is finished once that is written, whatever it came to; only a result that is not there is computed again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, select

from tercet.errors import NotFoundError, SpecError
from tercet.printable import printable
from tercet_cloud.dag.graph import place_of
from tercet_cloud.dag.outcomes import WHOLE, NodeState, RunState
from tercet_cloud.dag.records import ItemRecord, NodeRecord, RunRecord
from tercet_cloud.dag.run_progress import Known
from tercet_cloud.dag.run_tables import items, nodes, runs, values
from tercet_cloud.dag.spec import Pipeline

_REASON_CHARS = 200


@dataclass(frozen=True)
class Unfinished:
    """A run to go on with."""

    record: RunRecord
    pipeline: Pipeline
    priority: int | None
    deadline_at_s: float | None
    known: Mapping[int, Known] = field(default_factory=dict)


def row_of(connection: Connection, run: str) -> Any:
    """Its row in the table of runs. NotFoundError."""
    row = connection.execute(select(runs).where(runs.c.run == run)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no run {run}; `tercet pipeline list` shows those there are")
    return row


def spec_of(row: Any) -> Pipeline:
    """The pipeline that a run began with. SpecError if this version of Tercet cannot read it."""
    try:
        return Pipeline.model_validate_json(row.spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = printable(f"{where}: {first['msg']}" if where else first["msg"], _REASON_CHARS)
        raise SpecError(
            f"the pipeline of run {row.run} is none to this version of tercet ({reason}): run it anew"
        ) from error


def record_of(row: Any) -> RunRecord:
    """A run without its nodes."""
    return RunRecord(
        row.run,
        row.pipeline,
        RunState(row.state),
        row.submitted_s,
        row.started_s,
        row.ended_s,
        row.reason,
        bool(row.partial),
    )


def full_record(connection: Connection, row: Any, pipeline: Pipeline) -> RunRecord:
    """A run with its nodes, in the pipeline's order, as they were written."""
    each: dict[str, list[ItemRecord]] = {}
    for one in connection.execute(select(items).where(items.c.run == row.run).order_by(items.c.item)):
        each.setdefault(one.node, []).append(
            ItemRecord(one.item, NodeState(one.state), one.attempts, one.started_s, one.ended_s, one.reason)
        )
    held = {one.node: one for one in connection.execute(select(nodes).where(nodes.c.run == row.run))}
    records = []
    for name, node in pipeline.nodes.items():
        place = place_of(node.tier, node.at, split=node.deployment is not None)
        record = NodeRecord(name, place, tuple(node.upstream()))
        if (kept := held.get(name)) is not None:
            record = _node_record(record, kept, tuple(each.get(name, ())))
        records.append(record)
    return replace(record_of(row), nodes=tuple(records))


def unfinished_of(connection: Connection, run: str) -> Unfinished:
    """A run with all that whoever goes on with it must know. SpecError, NotFoundError."""
    row = row_of(connection, run)
    pipeline = spec_of(row)
    record = full_record(connection, row, pipeline)
    kept: dict[str, set[int]] = {}
    for one in connection.execute(select(values.c.source, values.c.item).where(values.c.run == run)):
        kept.setdefault(one.source, set()).add(one.item)
    known = {}
    for number, node in enumerate(record.nodes):
        if (stays := _known(node, kept.get(node.node, set()))) is not None:
            known[number] = stays
    return Unfinished(record, pipeline, row.priority, row.deadline_at_s, known)


def _known(node: NodeRecord, kept: Set[int]) -> Known | None:
    """What of a node need not be run again: whatever it came to, and of results only those that are there."""
    done = frozenset(item.item for item in node.each if item.state is NodeState.DONE and item.item in kept)
    failed = frozenset(item.item for item in node.each if item.state is NodeState.FAILED)
    if node.state.ended and node.state is not NodeState.DONE:
        return Known(node.state, node.items, done, failed)
    if node.items is not None:
        whole = node.state is NodeState.DONE and len(done) + len(failed) == node.items
        return Known(NodeState.DONE if whole else NodeState.RUNNING, node.items, done, failed)
    return Known(NodeState.DONE) if node.state is NodeState.DONE and WHOLE in kept else None


def _node_record(record: NodeRecord, row: Any, each: tuple[ItemRecord, ...]) -> NodeRecord:
    return NodeRecord(
        record.node,
        record.place,
        record.needs,
        NodeState(row.state),
        row.attempts,
        row.started_s,
        row.ended_s,
        row.reason,
        row.items,
        each,
        tuple(json.loads(row.troubles)),
        row.log,
        row.busy_s,
    )
