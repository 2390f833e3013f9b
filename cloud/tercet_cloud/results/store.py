"""The result store: every durable frame's result once, whoever brings it and however often.

A result is on disk when `record` returns; then, and not before, may its sender be told. The primary key (node,
sequence) makes repeats harmless, also those of results that have expired since. Writers of several replicas,
processes and machines come one after another, by a lock on one row, so that positions tell the order of storing and
counters are right. Everything blocks; errors are those of `tercet_cloud.database`, and after UnavailableError the
same call may be made again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, false, func, insert, or_, select, update

from tercet_cloud.database import Database
from tercet_cloud.results.key_ranges import KeyRange, merged
from tercet_cloud.results.result import Result, ResultKey, Stored, Tallies
from tercet_cloud.results.tables import ONLY_ROW, SCHEMA, attempts, epochs, expired, results, tallies

log = logging.getLogger(__name__)

# Given up in one transaction: others wait meanwhile.
_EXPIRED_AT_ONCE = 500
_TALLIES = tuple(field.name for field in fields(Tallies))


@dataclass(frozen=True)
class Known:
    """What the store knows of some frames: which it has, and which were begun and not ended, how often."""

    stored: frozenset[ResultKey]
    tries: Mapping[ResultKey, int]


class ResultStore:
    """One store in one database. Thread-safe; `database` is its own to close."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # The file it was made in, or None, once there is one.
        self._prepared: tuple[object] | None = None

    @property
    def shown(self) -> str:
        """What may be said of where it is."""
        return self._database.shown

    def prepare(self) -> None:
        """Make the tables unless they are there; also done at the first need. SettingsError if they are too new."""
        if self._prepared == (self._database.place,):
            return
        if self._prepared is not None:
            log.error("results were removed or replaced; begun anew", extra={"database": self.shown})
        SCHEMA.prepare(self._database)
        self._prepared = (self._database.place,)

    def close(self) -> None:
        self._database.close()

    def look_up(self, keys: Collection[ResultKey]) -> Known:
        """What is known of frames before they are computed, at most a call's."""
        self.prepare()
        with self._database.reading() as connection:
            begun = connection.execute(select(attempts).where(_any_of(attempts.c.node, attempts.c.sequence, keys)))
            tries = {ResultKey(row.node, row.sequence): row.tries for row in begun}
            return Known(_stored(connection, keys), tries)

    def began(self, keys: Sequence[ResultKey]) -> None:
        """Remember, on disk, that these frames are about to be tried.

        A frame that kills the process leaves its mark behind: `look_up` tells it, `record` takes it away.
        """
        self.prepare()
        with self._database.writing() as connection:
            _lock(connection)
            mine = _any_of(attempts.c.node, attempts.c.sequence, keys)
            before = connection.execute(select(attempts).where(mine))
            tries = {ResultKey(row.node, row.sequence): row.tries for row in before}
            connection.execute(delete(attempts).where(mine))
            _insert(
                connection,
                attempts,
                [
                    {"node": key.node, "sequence": key.sequence, "tries": tries.get(key, 0) + 1}
                    for key in dict.fromkeys(keys)
                ],
            )

    def record(
        self,
        batch: Sequence[Result],
        *,
        ended: Collection[ResultKey] = (),
        refused: int = 0,
        deduplicated: int = 0,
        redelivered: int = 0,
    ) -> list[Stored]:
        """Store results, in order, and count what came along with them; all or nothing, on disk on return.

        Args:
            batch: at most a call's.
            ended: frames of `began` whose try is over, whatever came of it.
            refused, deduplicated: frames that are not in `batch`.
            redelivered: frames that were sent before, in `batch` or not.
        Returns:
            what became of each of `batch`, in order.
        """
        self.prepare()
        with self._database.writing() as connection:
            last_position = _lock(connection)
            outcomes, fresh = _sorted_out(batch, _stored(connection, [result.key for result in batch]))
            late = _note_highest(connection, fresh)
            if ended:
                connection.execute(delete(attempts).where(_any_of(attempts.c.node, attempts.c.sequence, ended)))
            rows = [
                _row(result, last_position + place, result.key in late) for place, result in enumerate(fresh, 1)
            ]
            _insert(connection, results, rows)
            _count(
                connection,
                last_position=len(fresh),
                taken=len(fresh),
                deduplicated=deduplicated + len(batch) - len(fresh),
                redelivered=redelivered,
                refused=refused,
                out_of_order=len(late),
                held_frames=len(fresh),
                held_bytes=sum(len(result.outputs) for result in fresh),
            )
        return outcomes

    def tallies(self) -> Tallies:
        """The counters as they are now."""
        self.prepare()
        with self._database.reading() as connection:
            row = connection.execute(select(tallies).where(tallies.c.id == ONLY_ROW)).one()
            return Tallies(**{name: getattr(row, name) for name in _TALLIES})

    def expire(self, received_before_unix_us: int) -> int:
        """Give up results that were received before; their keys stay known. Returns how many, which are counted.

        In several transactions: after an error some of it may be done.
        """
        self.prepare()
        total = 0
        while count := self._expire_some(received_before_unix_us):
            total += count
        if total:
            log.info("results expired", extra={"policy": "expire-oldest", "results": total})
        return total

    def _expire_some(self, received_before_unix_us: int) -> int:
        with self._database.writing() as connection:
            _lock(connection)
            old = connection.execute(
                select(results.c.node, results.c.sequence, func.length(results.c.outputs).label("size_bytes"))
                .where(results.c.received_unix_us < received_before_unix_us)
                .order_by(results.c.received_unix_us)
                .limit(_EXPIRED_AT_ONCE)
            ).all()
            if not old:
                return 0
            keys = [ResultKey(row.node, row.sequence) for row in old]
            connection.execute(delete(results).where(_any_of(results.c.node, results.c.sequence, keys)))
            _remember_expired(connection, keys)
            size_bytes = sum(row.size_bytes for row in old)
            _count(connection, expired=len(old), held_frames=-len(old), held_bytes=-size_bytes)
            return len(old)


def _lock(connection: Connection) -> int:
    """Keep other writers out until the transaction ends; returns the last position that was given."""
    locked = select(tallies.c.last_position).where(tallies.c.id == ONLY_ROW).with_for_update()
    return int(connection.execute(locked).scalar_one())


def _count(connection: Connection, **added: int) -> None:
    changes = {tallies.c[name]: tallies.c[name] + number for name, number in added.items() if number}
    if changes:
        connection.execute(update(tallies).where(tallies.c.id == ONLY_ROW).values(changes))


def _any_of(
    node: ColumnElement[str], number: ColumnElement[int], pairs: Iterable[tuple[str, int]]
) -> ColumnElement[bool]:
    """Whether a row has one of the pairs; in a form in which SQLite uses the index, unlike for tuples."""
    by_node: dict[str, list[int]] = {}
    for name, value in pairs:
        by_node.setdefault(name, []).append(value)
    return or_(false(), *(and_(node == name, number.in_(values)) for name, values in by_node.items()))


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Many rows in one statement, which matters with PostgreSQL: without RETURNING there would be one a row."""
    if rows:
        connection.execute(insert(table).returning(table.c.node), rows).all()


def _stored(connection: Connection, keys: Collection[ResultKey]) -> frozenset[ResultKey]:
    """Those of `keys` that are in the store, or were."""
    held = connection.execute(
        select(results.c.node, results.c.sequence).where(_any_of(results.c.node, results.c.sequence, keys))
    )
    found = {ResultKey(row.node, row.sequence) for row in held}
    gone = connection.execute(
        select(expired).where(
            expired.c.node.in_({key.node for key in keys}),
            expired.c.first <= max((key.sequence for key in keys), default=0),
            expired.c.last >= min((key.sequence for key in keys), default=0),
        )
    ).all()
    for row in gone:
        found.update(key for key in keys if key.node == row.node and row.first <= key.sequence <= row.last)
    return frozenset(found)


def _sorted_out(batch: Sequence[Result], stored: frozenset[ResultKey]) -> tuple[list[Stored], list[Result]]:
    """What becomes of each, and those that are new."""
    seen = set(stored)
    outcomes, fresh = [], []
    for result in batch:
        outcomes.append(Stored.DUPLICATE if result.key in seen else Stored.NEW)
        if result.key not in seen:
            seen.add(result.key)
            fresh.append(result)
    return outcomes, fresh


def _note_highest(connection: Connection, fresh: Sequence[Result]) -> set[ResultKey]:
    """Keep the highest sequence of each device and epoch; returns those of `fresh` that come after a later one."""
    touched = {(result.key.node, result.key.epoch) for result in fresh}
    mine = _any_of(epochs.c.node, epochs.c.epoch, sorted(touched))
    before = {(row.node, row.epoch): row.highest for row in connection.execute(select(epochs).where(mine))}
    highest, late = dict(before), set()
    for result in fresh:
        place = (result.key.node, result.key.epoch)
        if result.key.sequence < highest.get(place, 0):
            late.add(result.key)
        else:
            highest[place] = result.key.sequence
    changed = [place for place in sorted(touched) if highest[place] != before.get(place)]
    if changed:
        connection.execute(delete(epochs).where(_any_of(epochs.c.node, epochs.c.epoch, changed)))
        _insert(
            connection,
            epochs,
            [{"node": node, "epoch": epoch, "highest": highest[node, epoch]} for node, epoch in changed],
        )
    return late


def _remember_expired(connection: Connection, keys: Sequence[ResultKey]) -> None:
    nodes = expired.c.node.in_({key.node for key in keys})
    before = [KeyRange(*row) for row in connection.execute(select(expired).where(nodes))]
    connection.execute(delete(expired).where(nodes))
    ranges = merged([*before, *(KeyRange(key.node, key.sequence, key.sequence) for key in keys)])
    _insert(connection, expired, [one._asdict() for one in ranges])


def _row(result: Result, position: int, late: bool) -> dict[str, object]:
    values = {name: getattr(result, name) for name in results.c.keys() if hasattr(result, name)}  # noqa: SIM118
    return {
        **values,
        "node": result.key.node,
        "sequence": result.key.sequence,
        "position": position,
        "late": late,
        "age_source": result.age_source.value,
    }
