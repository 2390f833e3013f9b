"""A database by URL, for whatever the cloud keeps: SQLite in a file, or PostgreSQL.

Decides how long anything may wait, and that a transaction is on disk when it has been committed: SQLite in WAL mode
with `synchronous=FULL`, PostgreSQL with `synchronous_commit=on` whatever its configuration says. Connections are
pooled; one that broke is replaced at the next use, so a database that was restarted is used again by itself.
Everything blocks: call it outside the event loop. Nothing is retried here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from tercet.errors import MissingExtraError, SettingsError, UnavailableError
from tercet.on_disk import make_folder
from tercet_cloud.database_failures import failure_of, is_gone
from tercet_cloud.database_url import DatabaseUrl

# What may pass until a lock is had, a statement done, an answer read; each longer than the one before.
LOCK_WAIT_S = 5.0
STATEMENT_S = 10.0
SOCKET_S = 15.0
CONNECT_S = 5.0
POOL_WAIT_S = 5.0
# A connection held open in a transaction by a process that hangs keeps nobody out for longer.
IDLE_S = 30.0
# Of the SQLite log that stays on disk after a large transaction.
_KEPT_LOG_BYTES = 64 << 20
_WRITING, _PLACE = "tercet_writing", "tercet_place"


class Database:
    """One database. Thread-safe; open it anew in every process, never before a fork.

    Args:
        connections: how many at once; who finds none free waits for POOL_WAIT_S.
    Raises:
        MissingExtraError: the driver is not installed.
    """

    def __init__(self, url: DatabaseUrl, *, connections: int = 4) -> None:
        self.url, self._connections = url, connections
        options: dict[str, Any] = {
            "poolclass": QueuePool,
            "pool_size": connections,
            "max_overflow": 0,
            "pool_timeout": POOL_WAIT_S,
            # Statements and values do not belong into logs and error texts.
            "hide_parameters": True,
        }
        self._engine = _postgresql(url, options) if url.file is None else _sqlite(url.file, options)

    @property
    def place(self) -> tuple[int, int] | None:
        """Which file it is, by device and inode, which another in its place has not. None without one."""
        return None if self.url.file is None else _place(self.url.file)

    @property
    def shown(self) -> str:
        """What may be said of the database."""
        return self.url.shown

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that writes: committed, and on disk, once it is left without an error, else rolled back.

        SQLite lets one in at a time, from its beginning; on PostgreSQL lock what must not change meanwhile.

        Raises:
            OverloadedError, UnavailableError, SettingsError, IntegrityError: see `database_failures`. After
                UnavailableError it is not known whether the transaction was committed.
        """
        with self._transaction(writes=True) as connection:
            yield connection
            if self.place != connection.info.get(_PLACE):
                # SQLite would write on into a file that has no name any more.
                connection.invalidate()
                raise UnavailableError(f"{self.shown} was removed or replaced while it was in use")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that only reads. Errors as `writing`."""
        with self._transaction(writes=False) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections; whoever uses the database afterwards gets new ones."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                for _ in range(self._connections):
                    if self.place == connection.info.get(_PLACE):
                        break
                    # The next one is from the pool again, until that has none left of the file that was there.
                    connection.invalidate()
                connection.execution_options(**{_WRITING: writes})
                # Time-outs of pg8000's socket, which SQLAlchemy takes for errors of its caller.
                with _invalidated_by(OSError, connection), connection.begin(), _invalidated_by(OSError, connection):
                    yield connection
        except (SQLAlchemyError, OSError) as error:
            raise failure_of(error, self.shown) from error


@contextlib.contextmanager
def _invalidated_by(kind: type[Exception], connection: Connection) -> Iterator[None]:
    try:
        yield
    except kind:
        connection.invalidate()
        raise


def _sqlite(file: Path, options: Mapping[str, Any]) -> Engine:
    def connect() -> sqlite3.Connection:
        _make_folder(file.parent)
        # psow=0: no sector with acknowledged bytes is written again, where a power cut could garble it.
        place = f"file:{quote(os.fsencode(file))}?psow=0"
        return sqlite3.connect(place, uri=True, check_same_thread=False, timeout=LOCK_WAIT_S)

    engine = create_engine("sqlite://", creator=connect, **options)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        # Python would begin transactions where it likes; `begin` below does.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={round(LOCK_WAIT_S * 1000)}")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={_KEPT_LOG_BYTES}")
        record.info[_PLACE] = _place(file)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that begins by reading could not become a writing one while others write.
        writes = connection.get_execution_options().get(_WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """WAL mode, which is a property of the file. SQLite does not wait by itself if several switch at once."""
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise SettingsError(
                "the file system under the database has no shared memory for SQLite: use a local disk"
            )
        return


def _place(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise SettingsError(f"cannot make the folder {folder} ({error.strerror}): choose another one") from error


def _postgresql(url: DatabaseUrl, options: Mapping[str, Any]) -> Engine:
    arguments = {
        "timeout": CONNECT_S,
        "application_name": "tercet",
        "ssl_context": _ssl_context(url.sslmode),
        **({"unix_sock": url.unix_sock} if url.unix_sock else {}),
    }
    try:
        engine = create_engine(url.url.set(query={}), pool_pre_ping=True, connect_args=arguments, **options)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"PostgreSQL needs {error.name}: run `pip install 'tercet[postgres]'`") from error
    settings = {
        "synchronous_commit": "on",
        "statement_timeout": f"{round(STATEMENT_S * 1000)}",
        "lock_timeout": f"{round(LOCK_WAIT_S * 1000)}",
        "idle_in_transaction_session_timeout": f"{round(IDLE_S * 1000)}",
    }

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        transport: socket.socket = connection._usock
        transport.settimeout(SOCKET_S)
        if transport.family != socket.AF_UNIX:
            # pg8000 writes a statement in pieces, which would cost every large one 40 ms.
            transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Outside a transaction: rolled back, one would take the settings along.
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("".join(f"SET {name} = '{value}';" for name, value in settings.items()))
        cursor.close()
        connection.autocommit = False

    @event.listens_for(engine, "handle_error")
    def notice_end(context: ExceptionContext) -> None:
        # SQLAlchemy's dialect does not know that a server's farewell ends the connection.
        if is_gone(context.original_exception):
            context.is_disconnect = True

    return engine


def _ssl_context(mode: str) -> ssl.SSLContext | bool | None:
    """pg8000's argument: False never, None if the server can, a context always."""
    if mode in ("disable", "prefer"):
        return False if mode == "disable" else None
    context = ssl.create_default_context()
    if mode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
