"""Reading stored results: pages of them in order, one, and counts by node. Writes nothing, makes no tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Integer, cast, func, select

from tercet.durable.capture_time import AgeSource
from tercet.errors import NotFoundError
from tercet_cloud.database import Database
from tercet_cloud.results.result import ResultKey
from tercet_cloud.results.tables import SCHEMA, results

_PAGE = 500
_FACTS = [column for column in results.c if column.name != "outputs"]


@dataclass(frozen=True)
class StoredResult:
    """A result as it is kept; `outputs`, a sealed answer, only where it was asked for. See `Result`."""

    key: ResultKey
    position: int
    model: str
    plan: str
    label: str | None
    confidence: float | None
    degraded: bool
    reason: str
    captured_unix_us: int
    age_source: AgeSource
    received_unix_us: int
    late: bool
    size_bytes: int
    outputs: bytes | None = field(repr=False)

    @property
    def captured_uncertain(self) -> bool:
        """Whether the time of capture may be anything: no clock tells that could be trusted."""
        return self.age_source in (AgeSource.UNKNOWN, AgeSource.BARE_CLOCK)


@dataclass(frozen=True)
class NodeCount:
    """What is held of one device."""

    node: str
    results: int
    degraded: int
    late: int
    last_received_unix_us: int


class ResultReader:
    """The results in a database. Thread-safe.

    Raises:
        NotFoundError: on opening, if the database has no results; SettingsError if they are of a newer version.
    """

    def __init__(self, database: Database) -> None:
        SCHEMA.check(database)
        self._database = database

    def in_order(
        self,
        *,
        node: str | None = None,
        after: int | None = None,
        limit: int | None = None,
        outputs: bool = False,
    ) -> Iterator[StoredResult]:
        """Results in order: of one node by sequence, of all by order of storing; read in pages.

        Args:
            after: begin behind this sequence (of one node) or position (of all). Left out, but with a limit: the
                last ones.
            limit: how many at most.
        """
        order = results.c.position if node is None else results.c.sequence
        if after is None and limit is not None:
            yield from reversed(self._page(node, order.desc(), None, limit, outputs))
            return
        left = limit
        while left is None or left > 0:
            page = self._page(
                node,
                order.asc(),
                None if after is None else order > after,
                _PAGE if left is None else min(_PAGE, left),
                outputs,
            )
            yield from page
            if not page:
                return
            after = page[-1].position if node is None else page[-1].key.sequence
            left = None if left is None else left - len(page)

    def one(self, key: ResultKey) -> StoredResult:
        """One result with its outputs. NotFoundError if it is not there."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(*results.c).where(results.c.node == key.node, results.c.sequence == key.sequence)
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"no result of {key.node} {key.sequence} in {self._database.shown}")
        return _stored(row, len(row.outputs), row.outputs)

    def counts(self, node: str | None = None) -> list[NodeCount]:
        """How many results there are, by node."""
        query = select(
            results.c.node,
            func.count(),
            func.sum(cast(results.c.degraded, Integer)),
            func.sum(cast(results.c.late, Integer)),
            func.max(results.c.received_unix_us),
        )
        if node is not None:
            query = query.where(results.c.node == node)
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(results.c.node).order_by(results.c.node)).all()
        return [NodeCount(name, *(int(number) for number in numbers)) for name, *numbers in rows]

    def _page(
        self,
        node: str | None,
        order: ColumnElement[int],
        behind: ColumnElement[bool] | None,
        limit: int,
        outputs: bool,
    ) -> list[StoredResult]:
        query = select(*_FACTS, func.length(results.c.outputs).label("size_bytes"))
        if outputs:
            query = query.add_columns(results.c.outputs)
        if node is not None:
            query = query.where(results.c.node == node)
        if behind is not None:
            query = query.where(behind)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(order).limit(limit)).all()
        return [_stored(row, row.size_bytes, row.outputs if outputs else None) for row in rows]


def _stored(row: Any, size_bytes: int, outputs: bytes | None) -> StoredResult:
    facts = {column.name: getattr(row, column.name) for column in _FACTS}
    key = ResultKey(facts.pop("node"), facts.pop("sequence"))
    age_source = AgeSource(facts.pop("age_source"))
    return StoredResult(key=key, age_source=age_source, size_bytes=size_bytes, outputs=outputs, **facts)
