"""Runs kept in a database: what each is, how far it came, and the results it goes on with after a crash.

Only the owner of a run writes to it. An owner renews its leases; who finds a run unfinished and its lease over
takes it, and what an owner that was only slow writes afterwards is refused. Everything blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tercet.errors import NotFoundError, SpecError
from tercet_cloud.dag.graph import place_of
from tercet_cloud.dag.kept_values import ValueFolder
from tercet_cloud.dag.outcomes import WHOLE, NodeState, RunState
from tercet_cloud.dag.records import ItemRecord, NodeRecord, RunRecord
from tercet_cloud.dag.run_lease import Lease
from tercet_cloud.dag.run_progress import Known
from tercet_cloud.dag.run_tables import EVERY, SCHEMA, items, nodes, runs, values
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url

_OPEN = (RunState.QUEUED.value, RunState.RUNNING.value)
_STAYING = (NodeState.DONE.value, NodeState.SKIPPED.value, NodeState.RUNNING.value)
# SQLite takes so many values in one statement.
_CHUNK = 500
Row = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Rows to write together; a later row of the same key takes the place of an earlier one."""

    runs: Sequence[Row] = ()
    nodes: Sequence[Row] = ()
    items: Sequence[Row] = ()
    values: Sequence[Row] = ()


@dataclass(frozen=True)
class Unfinished:
    """A run to go on with."""

    record: RunRecord
    pipeline: Pipeline
    priority: int | None
    deadline_at_s: float | None
    known: Mapping[int, Known] = field(default_factory=dict)


def state_url(state: Path) -> str:
    """The database in a folder of states, where none is named."""
    return sqlite_url(state / "pipelines.db")


class RunStore:
    """See the module.

    Args:
        url: of the database, see `database_url`.
        folder: of large results.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._database = Database(DatabaseUrl.parse(url, "--database"))
        self.folder = ValueFolder(folder)
        SCHEMA.prepare(self._database)

    def close(self) -> None:
        self._database.close()

    # --- writing

    def add(self, row: Row, inputs: Sequence[Row], owner: str) -> None:
        """A new run with its inputs. SpecError if there is one of that name."""
        with self._database.writing() as connection:
            if connection.scalar(select(runs.c.run).where(runs.c.run == row["run"])) is not None:
                raise SpecError(f"there is a run {row['run']} already")
            connection.execute(runs.insert().values({**row, "owner": owner}))
            if inputs:
                connection.execute(values.insert(), list(inputs))

    def write(self, batch: Batch, owner: str) -> list[str]:
        """Write what belongs to runs of this owner, all or nothing; returns the runs that it has lost."""
        named = {row["run"] for rows in (batch.runs, batch.nodes, batch.items, batch.values) for row in rows}
        with self._database.writing() as connection:
            owned = set(_owned(connection, named, owner))
            for row in batch.runs:
                if row["run"] in owned:
                    changes = {key: value for key, value in row.items() if key != "run"}
                    connection.execute(update(runs).where(runs.c.run == row["run"]).values(changes))
            for table, rows in ((nodes, batch.nodes), (items, batch.items), (values, batch.values)):
                _upsert(connection, table, [row for row in rows if row["run"] in owned])
        return sorted(named - owned)

    def renew(self, names: Iterable[str], owner: str) -> tuple[list[str], dict[str, str]]:
        """Beat. Returns the runs that were lost, and what is to be cancelled, by run: a node, or *."""
        wanted = set(names)
        with self._database.writing() as connection:
            owned = _owned(connection, wanted, owner)
            for chunk in _chunks(owned):
                connection.execute(update(runs).where(runs.c.run.in_(chunk)).values(beat=runs.c.beat + 1))
            cancels: dict[str, str] = {}
            for chunk in _chunks(owned):
                found = connection.execute(
                    select(runs.c.run, runs.c.cancel).where(runs.c.run.in_(chunk), runs.c.cancel != "")
                )
                cancels.update((row.run, row.cancel) for row in found)
            for chunk in _chunks(list(cancels)):
                connection.execute(update(runs).where(runs.c.run.in_(chunk)).values(cancel=""))
        return sorted(wanted - set(owned)), cancels

    def leases(self, run: str | None = None) -> Sequence[Lease]:
        """Of unfinished runs, or of the one named, oldest first."""
        query = select(runs.c.run, runs.c.owner, runs.c.beat).where(runs.c.state.in_(_OPEN))
        if run is not None:
            query = query.where(runs.c.run == run)
        with self._database.reading() as connection:
            return [Lease(*row) for row in connection.execute(query.order_by(runs.c.submitted_s))]

    def claim(self, leases: Iterable[Lease], owner: str) -> Sequence[Unfinished]:
        """Take over runs, unless their owner has given a sign of life or somebody else was quicker."""
        taken = []
        with self._database.writing() as connection:
            for lease in leases:
                same = (runs.c.run == lease.run) & (runs.c.owner == lease.owner) & (runs.c.beat == lease.beat)
                changed = connection.execute(
                    update(runs).where(same, runs.c.state.in_(_OPEN)).values(owner=owner, beat=runs.c.beat + 1)
                )
                if changed.rowcount:
                    taken.append(lease.run)
        return [self._unfinished(run) for run in taken]

    def release(self, owner: str) -> None:
        """An owner leaves: its unfinished runs may be taken at once."""
        with self._database.writing() as connection:
            connection.execute(update(runs).where(runs.c.owner == owner, runs.c.state.in_(_OPEN)).values(owner=""))

    def ask_cancel(self, run: str, node: str | None) -> None:
        """Tell whoever works on a run to give it up, or a node. SpecError if it has ended, NotFoundError."""
        with self._database.writing() as connection:
            row = _run_row(connection, run)
            if row.state not in _OPEN:
                raise SpecError(f"run {run} has ended already: {row.state}")
            if node is not None and node not in Pipeline.model_validate_json(row.spec).nodes:
                raise NotFoundError(f"run {run} has no node {node}")
            connection.execute(update(runs).where(runs.c.run == run).values(cancel=node or "*"))

    def cancel_unowned(self, lease: Lease) -> bool:
        """Cancel a run that nobody works on; False if somebody does after all."""
        with self._database.writing() as connection:
            same = (runs.c.run == lease.run) & (runs.c.owner == lease.owner) & (runs.c.beat == lease.beat)
            changed = connection.execute(
                update(runs)
                .where(same, runs.c.state.in_(_OPEN))
                .values(state=RunState.CANCELLED.value, reason="cancelled", cancel="", beat=runs.c.beat + 1)
            )
            return bool(changed.rowcount)

    def heard_cancel(self, run: str) -> tuple[bool, RunState]:
        """Whether whoever works on a run has taken the wish; and the run's state."""
        with self._database.reading() as connection:
            row = _run_row(connection, run)
            return row.cancel == "", RunState(row.state)

    def reopen(self, run: str) -> None:
        """Make ready to go on: what succeeded stays, the rest is run again. An unfinished run is left as it is.

        SpecError if there is nothing to run again.
        """
        with self._database.writing() as connection:
            row = _run_row(connection, run)
            if row.state in _OPEN:
                return
            if row.state == RunState.DONE.value and not row.partial:
                raise SpecError(
                    f"run {run} is done, there is nothing to run again; "
                    f"`tercet pipeline show {run} --outputs` prints what it gave"
                )
            # Of a node whose items failed, those that did not stay.
            connection.execute(
                update(nodes)
                .where(nodes.c.run == run, nodes.c.state == NodeState.FAILED.value, nodes.c["items"].is_not(None))
                .values(state=NodeState.RUNNING.value)
            )
            if row.partial:
                # A node that is done though items failed is opened again for those items.
                failed = select(items.c.node).where(items.c.run == run, items.c.state == NodeState.FAILED.value)
                again = nodes.c.node.in_(failed)
                connection.execute(
                    update(nodes).where(nodes.c.run == run, again).values(state=NodeState.RUNNING.value)
                )
                self._open_behind(connection, row)
            connection.execute(delete(items).where(items.c.run == run, items.c.state != NodeState.DONE.value))
            connection.execute(
                delete(nodes).where(
                    nodes.c.run == run,
                    nodes.c.state.not_in(_STAYING),
                )
            )
            connection.execute(
                update(runs)
                .where(runs.c.run == run)
                .values(
                    state=RunState.QUEUED.value,
                    ended_s=None,
                    reason="",
                    partial=False,
                    deadline_at_s=None,
                    owner="",
                    cancel="",
                )
            )

    def _open_behind(self, connection: Connection, row: Any) -> None:
        """What read a partial result reads the whole one: everything behind nodes that are opened again is, too."""
        pipeline = Pipeline.model_validate_json(row.spec)
        opened = set(
            connection.scalars(
                select(nodes.c.node).where(nodes.c.run == row.run, nodes.c.state == NodeState.RUNNING.value)
            )
        )
        downstream, waiting = pipeline.downstream(), list(opened)
        while waiting:
            for after in downstream[waiting.pop()]:
                if after not in opened:
                    opened.add(after)
                    waiting.append(after)
                    for table in (nodes, items):
                        connection.execute(delete(table).where(table.c.run == row.run, table.c.node == after))

    def remove(self, run: str) -> None:
        """Forget a run. Large results stay in the folder: others may have equal ones."""
        with self._database.writing() as connection:
            for table in EVERY:
                connection.execute(delete(table).where(table.c.run == run))

    # --- reading

    def list(self, limit: int | None = 20) -> list[RunRecord]:
        """The last runs, newest first, without their nodes."""
        query = select(runs).order_by(runs.c.submitted_s.desc())
        with self._database.reading() as connection:
            return [_run_record(row) for row in connection.execute(query.limit(limit) if limit else query)]

    def record(self, run: str) -> RunRecord:
        """A run with its nodes, in the pipeline's order. NotFoundError."""
        with self._database.reading() as connection:
            row = _run_row(connection, run)
            return self._with_nodes(connection, row, Pipeline.model_validate_json(row.spec))

    def pipeline(self, run: str) -> Pipeline:
        with self._database.reading() as connection:
            return Pipeline.model_validate_json(_run_row(connection, run).spec)

    def value(self, run: str, source: str, item: int = WHOLE) -> bytes:
        """A result's bytes. NotFoundError, IntegrityError."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(values.c.data, values.c.address).where(
                    values.c.run == run, values.c.source == source, values.c.item == item
                )
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"run {run} kept no result of {source}")
        return self.folder.get(row.address) if row.address else bytes(row.data)

    def item_numbers(self, run: str, source: str) -> Sequence[int]:
        """Of the items of which a result is kept, in order."""
        with self._database.reading() as connection:
            query = select(values.c.item).where(values.c.run == run, values.c.source == source)
            return list(connection.scalars(query.order_by(values.c.item)))

    def _unfinished(self, run: str) -> Unfinished:
        with self._database.reading() as connection:
            row = _run_row(connection, run)
            pipeline = Pipeline.model_validate_json(row.spec)
            record = self._with_nodes(connection, row, pipeline)
            query = select(values.c.source, values.c.item, values.c.length).where(values.c.run == run)
            kept = {(one.source, one.item): one.length for one in connection.execute(query)}
        numbers = {name: number for number, name in enumerate(pipeline.nodes)}
        known = {}
        for node in record.nodes:
            if (one := _known(node, {item for source, item in kept if source == node.node})) is not None:
                known[numbers[node.node]] = one
        return Unfinished(record, pipeline, row.priority, row.deadline_at_s, known)

    def _with_nodes(self, connection: Connection, row: Any, pipeline: Pipeline) -> RunRecord:
        each: dict[str, list[ItemRecord]] = {}
        found = connection.execute(select(items).where(items.c.run == row.run).order_by(items.c.item))
        for one in found:
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
        return RunRecord(**{**vars(_run_record(row)), "nodes": tuple(records)})


def _known(node: NodeRecord, kept: set[int]) -> Known | None:
    """What of a node need not be run again: only that whose result is there."""
    done = frozenset(item.item for item in node.each if item.state is NodeState.DONE and item.item in kept)
    failed = frozenset(item.item for item in node.each if item.state is NodeState.FAILED)
    if node.state is NodeState.SKIPPED:
        return Known(node.state)
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


def _run_record(row: Any) -> RunRecord:
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


def _run_row(connection: Connection, run: str) -> Any:
    row = connection.execute(select(runs).where(runs.c.run == run)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no run {run}; `tercet pipeline list` shows those there are")
    return row


def _owned(connection: Connection, names: Iterable[str], owner: str) -> Sequence[str]:
    owned: list[str] = []
    for chunk in _chunks(sorted(names)):
        query = select(runs.c.run).where(runs.c.run.in_(chunk), runs.c.owner == owner)
        # On PostgreSQL nobody may take the runs over before this transaction has ended; SQLite has one writer.
        locked = query.with_for_update() if connection.dialect.name == "postgresql" else query
        owned.extend(connection.scalars(locked))
    return owned


def _upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if not rows:
        return
    keys = [column.name for column in table.primary_key.columns]
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    changed = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys}
    statement = insert.on_conflict_do_update(index_elements=keys, set_=changed)
    connection.execute(statement, list({tuple(row[key] for key in keys): row for row in rows}.values()))


def _chunks(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))
