"""The tables of one store in a database, made once however many processes start at once, and their version.

Several stores may share a database: each has a name, and its tables carry it. A store of a newer version than this
program knows is refused before anything is read or written; one of an older version is changed, in one transaction
with the note of its version.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import (
    Column,
    Connection,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)

from tercet.errors import NotFoundError, SettingsError
from tercet_cloud.database import Database

log = logging.getLogger(__name__)

_versions = Table(
    "tercet_schemas",
    MetaData(),
    Column("name", String, primary_key=True),
    Column("version", Integer, nullable=False),
)


@dataclass(frozen=True)
class Schema:
    """The tables of the store called `name`, in the shape of `version`; `rows` are there from the beginning.

    Attributes:
        upgrades: statements that make of tables of a version those of the next, once new tables are there.
    """

    name: str
    version: int
    tables: MetaData
    rows: tuple[Insert, ...] = ()
    upgrades: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def prepare(self, database: Database) -> None:
        """Make the tables unless they are there, and change older ones. SettingsError if they are newer."""
        with database.writing() as connection:
            if connection.dialect.name == "postgresql":
                # Held until the end of the transaction. The number is ours by its name.
                connection.execute(select(func.pg_advisory_xact_lock(zlib.crc32(_versions.name.encode()))))
                _warn_of_lost_writes(connection, database.shown)
            _versions.create(connection, checkfirst=True)
            found = self._check(connection, database.shown)
            self.tables.create_all(connection, checkfirst=True)
            if found is None:
                for row in self.rows:
                    connection.execute(row)
                connection.execute(insert(_versions).values(name=self.name, version=self.version))
            elif found < self.version:
                self._upgrade(connection, found)

    def check(self, database: Database) -> None:
        """Only look: NotFoundError if the tables are not there, SettingsError if they are of a newer version."""
        if database.url.file is not None and not database.url.file.exists():
            raise NotFoundError(f"{database.shown} is not there: is that where {self.name} are kept?")
        with database.reading() as connection:
            if not inspect(connection).has_table(_versions.name) or self._check(connection, database.shown) is None:
                raise NotFoundError(f"{database.shown} has no {self.name} yet")

    def _upgrade(self, connection: Connection, found: int) -> None:
        for version in range(found, self.version):
            for statement in self.upgrades.get(version, ()):
                connection.execute(text(statement))
        connection.execute(update(_versions).where(_versions.c.name == self.name).values(version=self.version))

    def _found(self, connection: Connection) -> int | None:
        return connection.scalar(select(_versions.c.version).where(_versions.c.name == self.name))

    def _check(self, connection: Connection, shown: str) -> int | None:
        found = self._found(connection)
        if found is not None and found > self.version:
            raise SettingsError(
                f"{shown} holds {self.name} of version {found}, this program knows {self.version}: install a newer "
                "tercet"
            )
        return found


def _warn_of_lost_writes(connection: Connection, shown: str) -> None:
    if connection.scalar(text("SHOW fsync")) == "off":
        log.warning("the database runs with fsync off: a power cut loses what it has", extra={"database": shown})
