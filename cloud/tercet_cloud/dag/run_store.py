"""Runs kept in a database: what each is, how far it came, and the results it goes on with after a crash.

Only the owner of a run writes to it. An owner renews its leases; who finds a run unfinished and its lease over
takes it, and what an owner that was only slow writes afterwards is refused. Everything blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tercet.errors import ContractError, NotFoundError, SpecError
from tercet.printable import printable
from tercet.wall_clock import REAL_CLOCK
from tercet_cloud.dag.kept_values import ValueFolder
from tercet_cloud.dag.outcomes import WHOLE, RunState
from tercet_cloud.dag.records import RunRecord, closed
from tercet_cloud.dag.run_lease import Lease
from tercet_cloud.dag.run_reading import Unfinished, full_record, record_of, row_of, spec_of, unfinished_of
from tercet_cloud.dag.run_reopening import reopen
from tercet_cloud.dag.run_tables import EVERY, SCHEMA, Row, cancels, items, nodes, runs, values
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url

# What is to be given up, where it is all of a run.
ALL = "*"
_OPEN = (RunState.QUEUED.value, RunState.RUNNING.value)
# SQLite takes so many values in one statement.
_CHUNK = 500
_REASON_CHARS = 300


@dataclass(frozen=True)
class Batch:
    """Rows to write together; a later row of the same key takes the place of an earlier one.

    Attributes:
        runs: only the columns that change.
    """

    runs: Sequence[Row] = ()
    nodes: Sequence[Row] = ()
    items: Sequence[Row] = ()
    values: Sequence[Row] = ()


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

    def add(self, row: Row, inputs: Sequence[Row], owner: str) -> bool:
        """A new run with its inputs; whether it is this owner's. The same submission may be there already.

        SpecError if there is another run of that name.
        """
        with self._database.writing() as connection:
            statement = _insert(connection, runs).values({**row, "owner": owner}).on_conflict_do_nothing()
            if connection.scalar(statement.returning(runs.c.run)) is None:
                held = row_of(connection, row["run"])
                if not held.submission or held.submission != row.get("submission"):
                    raise SpecError(f"there is a run {row['run']} already")
                return bool(held.owner == owner)
            if inputs:
                connection.execute(values.insert(), list(inputs))
            return True

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

    def renew(self, names: Iterable[str], owner: str) -> tuple[list[str], Mapping[str, Sequence[str]]]:
        """Beat. Returns the runs that were lost, and by run what is to be given up: nodes, or only ALL."""
        wanted = set(names)
        wishes: dict[str, list[str]] = {}
        with self._database.writing() as connection:
            owned = _owned(connection, wanted, owner)
            for chunk in _chunks(owned):
                connection.execute(update(runs).where(runs.c.run.in_(chunk)).values(beat=runs.c.beat + 1))
                query = select(cancels).where(cancels.c.run.in_(chunk)).order_by(cancels.c.node)
                for row in connection.execute(query):
                    wishes.setdefault(row.run, []).append(row.node)
        found = {run: [ALL] if ALL in wished else wished for run, wished in wishes.items()}
        return sorted(wanted - set(owned)), found

    def clear_cancels(self, wishes: Iterable[tuple[str, str]], owner: str) -> None:
        """The owner did as it was asked, and that is written. ALL takes wishes for nodes of its run along."""
        with self._database.writing() as connection:
            for run, node in wishes:
                which = cancels.c.run.in_(_owned(connection, [run], owner))
                connection.execute(
                    delete(cancels).where(which if node == ALL else which & (cancels.c.node == node))
                )

    def leases(self, run: str | None = None) -> Sequence[Lease]:
        """Of unfinished runs, or of the one named, oldest first."""
        query = select(runs.c.run, runs.c.owner, runs.c.beat).where(runs.c.state.in_(_OPEN))
        if run is not None:
            query = query.where(runs.c.run == run)
        with self._database.reading() as connection:
            return [Lease(*row) for row in connection.execute(query.order_by(runs.c.submitted_s))]

    def claim(self, leases: Iterable[Lease], owner: str) -> Sequence[Unfinished]:
        """Take over runs, unless their owner has given a sign of life or somebody else was quicker.

        One that cannot be read is ended as failed, and is no hindrance to the others.
        """
        taken = []
        with self._database.writing() as connection:
            for lease in leases:
                same = (runs.c.run == lease.run) & (runs.c.owner == lease.owner) & (runs.c.beat == lease.beat)
                changed = connection.execute(
                    update(runs).where(same, runs.c.state.in_(_OPEN)).values(owner=owner, beat=runs.c.beat + 1)
                )
                if changed.rowcount:
                    taken.append(lease.run)
        found = []
        for run in taken:
            try:
                with self._database.reading() as connection:
                    found.append(unfinished_of(connection, run))
            except (ContractError, ValueError) as error:
                self.end(run, owner, printable(str(error), _REASON_CHARS))
        return found

    def end(self, run: str, owner: str, reason: str) -> None:
        """A run cannot go on: it has failed, and nobody's it is. Nothing happens unless it is this owner's."""
        which = (runs.c.run == run) & (runs.c.owner == owner) & runs.c.state.in_(_OPEN)
        changes = {"state": RunState.FAILED.value, "reason": reason, "ended_s": _now_s(), "owner": ""}
        with self._database.writing() as connection:
            connection.execute(update(runs).where(which).values(changes))

    def release(self, owner: str) -> None:
        """An owner leaves: its unfinished runs may be taken at once."""
        with self._database.writing() as connection:
            connection.execute(update(runs).where(runs.c.owner == owner, runs.c.state.in_(_OPEN)).values(owner=""))

    def ask_cancel(self, run: str, node: str | None) -> None:
        """Tell whoever works on a run to give it up, or a node. SpecError if it has ended, NotFoundError."""
        with self._database.writing() as connection:
            row = row_of(connection, run)
            if row.state not in _OPEN:
                raise SpecError(f"run {run} has ended already: {row.state}")
            if node is not None and node not in spec_of(row).nodes:
                raise NotFoundError(f"run {run} has no node {node}")
            wish = _insert(connection, cancels).values(run=run, node=node or ALL)
            connection.execute(wish.on_conflict_do_nothing())

    def heard_cancel(self, run: str, node: str | None) -> tuple[bool, RunState]:
        """Whether what came of such a wish is written; and the run's state."""
        with self._database.reading() as connection:
            row = row_of(connection, run)
            query = select(func.count()).where(cancels.c.run == run, cancels.c.node == (node or ALL))
            return connection.scalar(query) == 0, RunState(row.state)

    def cancel_unowned(self, lease: Lease) -> bool:
        """Cancel a run that nobody works on; False if somebody does after all. Its owner of old writes no more."""
        with self._database.writing() as connection:
            same = (runs.c.run == lease.run) & (runs.c.owner == lease.owner) & (runs.c.beat == lease.beat)
            changed = connection.execute(
                update(runs)
                .where(same, runs.c.state.in_(_OPEN))
                .values(state=RunState.CANCELLED.value, reason="cancelled", ended_s=_now_s(), owner="")
            )
            if changed.rowcount:
                connection.execute(delete(cancels).where(cancels.c.run == lease.run))
            return bool(changed.rowcount)

    def reopen(self, run: str) -> None:
        """Make ready to go on: what succeeded stays, the rest is run again. An unfinished run is left as it is.

        SpecError if there is nothing to run again.
        """
        with self._database.writing() as connection:
            row = row_of(connection, run)
            if row.state not in _OPEN:
                reopen(connection, row)

    def remove(self, run: str) -> None:
        """Forget a run that has ended; `sweep` then removes its large results. SpecError if it is under way."""
        with self._database.writing() as connection:
            row = row_of(connection, run)
            if row.state in _OPEN:
                raise SpecError(f"run {run} is {row.state}: only a run that has ended is removed; cancel it first")
            for table in EVERY:
                connection.execute(delete(table).where(table.c.run == run))

    def sweep(self, untouched_s: float = 3600.0) -> int:
        """Remove the large results that no run has any more; returns how many.

        Args:
            untouched_s: those written or wanted again since then stay: their rows may be on their way.
        """
        old = self.folder.addresses(untouched_s)
        with self._database.reading() as connection:
            held = set(connection.scalars(select(values.c.address).where(values.c.address != "").distinct()))
        unheld = [address for address in old if address not in held]
        for address in unheld:
            self.folder.remove(address)
        return len(unheld)

    # --- reading

    def list(self, limit: int | None = 20) -> list[RunRecord]:
        """The last runs, newest first, without their nodes."""
        query = select(runs).order_by(runs.c.submitted_s.desc())
        with self._database.reading() as connection:
            return [record_of(row) for row in connection.execute(query.limit(limit) if limit else query)]

    def ended_before(self, at_s: float) -> Sequence[str]:
        """The runs that ended before a time of the wall clock, oldest first."""
        query = select(runs.c.run).where(runs.c.state.not_in(_OPEN), runs.c.ended_s < at_s)
        with self._database.reading() as connection:
            return list(connection.scalars(query.order_by(runs.c.ended_s)))

    def record(self, run: str) -> RunRecord:
        """A run with its nodes, in the pipeline's order. NotFoundError, SpecError."""
        with self._database.reading() as connection:
            row = row_of(connection, run)
            return closed(full_record(connection, row, spec_of(row)))

    def pipeline(self, run: str) -> Pipeline:
        with self._database.reading() as connection:
            return spec_of(row_of(connection, run))

    def import_paths(self, run: str) -> Sequence[Path]:
        """The folders that a run's functions are imported from."""
        with self._database.reading() as connection:
            return [Path(path) for path in json.loads(row_of(connection, run).import_paths)]

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
    insert = _insert(connection, table)
    changed = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys}
    statement = insert.on_conflict_do_update(index_elements=keys, set_=changed)
    connection.execute(statement, list({tuple(row[key] for key in keys): row for row in rows}.values()))


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _now_s() -> float:
    return REAL_CLOCK.now_us() / 1e6


def _chunks(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))
