"""SQLite files that survive a power cut: how they are made, opened and checked, and what SQLite's errors mean here.

WAL with synchronous=FULL: a transaction is on the disk when COMMIT returns. `psow=0` has SQLite end every commit on
a boundary of 4 KiB, so that no sector with acknowledged bytes is ever written again: a torn or garbled sector costs
only what nobody was told was safe. A new file is built beside its place and renamed into it. So a file that is
there was once whole, and one that is empty or garbled now is damage, never a reason to start anew.
Source: sqlite.org, "Write-Ahead Logging", "Powersafe Overwrite", "Result and Error Codes".
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tercet.errors import (
    IntegrityError,
    InvariantError,
    OverloadedError,
    SettingsError,
    SpecError,
    TercetError,
    UnavailableError,
)
from tercet.limits import MIB
from tercet.on_disk import make_folder, sync

PAGE_BYTES = 4096
# The crash test weakens it to show that it would notice.
SYNCHRONOUS = "FULL"
# Longest wait for another process that writes, such as `tercet dlq retry`.
BUSY_S = 5.0
# A log that has grown for one large frame is cut back to this.
_KEPT_LOG_BYTES = 16 * MIB
RETRY_AFTER_S = 1.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_UNREADABLE = frozenset(
    {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
)
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NO_ACCESS = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH})


@dataclass(frozen=True)
class Schema:
    """What a file holds. `application_id` and `version` stand in its header.

    Args:
        checked: tables whose pages are all read at opening; small ones.
    """

    application_id: int
    version: int
    statements: tuple[str, ...]
    checked: tuple[str, ...]


def make_database(path: Path, schema: Schema, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make the file at `path`, where nothing is yet; it is there as a whole or not at all.

    Raises:
        OverloadedError: the disk is full.
        SettingsError: the folder cannot be written to.
        IntegrityError: the file has gone, but its log is there.
    """
    log = companion(path, "-wal")
    if log.exists() and log.stat().st_size:
        raise IntegrityError(
            f"{path} is missing, but its log {log.name} is there: put the file back, or move the log away too"
        )
    fresh = path.with_name(f"{path.name}.new")
    try:
        make_folder(path.parent)
        for ending in ("", "-wal", "-shm", "-journal"):
            companion(fresh, ending).unlink(missing_ok=True)
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("BEGIN")
            for statement in schema.statements:
                connection.execute(statement)
            fill(connection)
            connection.execute(f"PRAGMA application_id={schema.application_id}")
            connection.execute(f"PRAGMA user_version={schema.version}")
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
        sync(fresh)
        fresh.replace(path)
        sync(path.parent)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except OSError as error:
        raise SettingsError(f"cannot make {path}: {error.strerror}; name a folder that can be written") from error


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to a file that is there; autocommit, for use by one thread at a time. Raises sqlite3.Error."""
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}&psow=0",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
    )
    try:
        connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
        # GroupCommit makes checkpoints, between commits: automatic ones hide their errors.
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={_KEPT_LOG_BYTES}")
        # Some builds overwrite what is deleted: twice the wear for nothing.
        connection.execute("PRAGMA secure_delete=OFF")
        # Nothing temporary on a disk that may be full.
        connection.execute("PRAGMA temp_store=MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def open_database(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open the file at `path`, recover what a crash left, and check it.

    Raises:
        IntegrityError: damaged, cut short, or not a database of `schema`.
        SpecError: written by a newer version.
        OverloadedError: the disk is full to the last block.
        SettingsError: no access.
    """
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    try:
        connection = connect(path)
        try:
            check_kind(connection, path, schema)
            _check_content(connection, path, schema)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translated(error, path) from error
    return connection


def check_kind(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Raise IntegrityError or SpecError unless the file is what `schema` says. Raises sqlite3.Error."""
    if number(connection, "PRAGMA application_id") != schema.application_id:
        raise damaged(path, "it is not a file of this kind")
    version = number(connection, "PRAGMA user_version")
    if version != schema.version:
        raise SpecError(
            f"{path} is of version {version}, this Tercet knows {schema.version}: use the Tercet that wrote it"
        )


def _check_content(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        if not is_no_room(error):
            raise
    else:
        pages = number(connection, "PRAGMA page_count")
        if path.stat().st_size < pages * PAGE_BYTES and not _log_bytes(path):
            raise damaged(path, f"it is cut short: {path.stat().st_size} bytes of {pages * PAGE_BYTES}")
    for table in schema.checked:
        for (finding,) in connection.execute(f"PRAGMA integrity_check({table})"):
            if finding != "ok":
                raise damaged(path, str(finding).splitlines()[-1])


def _log_bytes(path: Path) -> int:
    log = companion(path, "-wal")
    return log.stat().st_size if log.exists() else 0


def number(connection: sqlite3.Connection, query: str, *arguments: object) -> int:
    """The one number that a query gives."""
    return int(connection.execute(query, arguments).fetchone()[0])


def companion(path: Path, ending: str) -> Path:
    """A file that lies beside the database and has its name with an ending."""
    return path.with_name(path.name + ending)


def damaged(path: Path, finding: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is damaged ({finding}): move it and {path.name}-wal away to start with an empty one; "
        f"`sqlite3 {path.name} .recover` may save frames from it"
    )


def is_no_room(error: sqlite3.Error) -> bool:
    """Whether a full disk, a quota or a limit of file sizes may be why: SQLite tells only the first apart."""
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and not is_damage(error)


def is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in _DAMAGED or getattr(error, "sqlite_errorcode", 0) in _UNREADABLE


def translated(error: sqlite3.Error, path: Path) -> TercetError:
    """What to tell callers of an error that SQLite gave for `path`."""
    code = _code(error)
    if is_damage(error):
        return damaged(path, str(error))
    if is_no_room(error):
        full = code == sqlite3.SQLITE_FULL
        return no_room(
            path, str(error) if full else f"{error}: a full disk, a limit of file sizes, or a broken disk"
        )
    if code in _BUSY:
        return UnavailableError(
            f"{path} is locked by another process; let it end, then try again", retry_after_s=RETRY_AFTER_S
        )
    if code in _NO_ACCESS:
        return SettingsError(f"cannot use {path}: {error}; see that its folder can be written")
    return InvariantError(f"{path}: {error}")


def no_room(path: Path, finding: str) -> OverloadedError:
    return OverloadedError(
        f"no room for {path} ({finding}): free space on its disk, then it goes on", retry_after_s=RETRY_AFTER_S
    )


def closed(path: Path) -> UnavailableError:
    return UnavailableError(f"{path} is closed: open it again")


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 for errors that Python made, such as of a closed connection."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF
