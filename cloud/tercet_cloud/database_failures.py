"""What a failure of a database means for who asked: wait, change a setting, or report a bug.

OverloadedError where waiting helps by itself (disk full, no connection free, a lock held too long),
UnavailableError where the database is away, SettingsError where a person must do something, IntegrityError for a
broken file. Texts name the database by what may be shown of it, never by its URL, and quote no statement or value.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy import exc

from tercet.errors import (
    IntegrityError,
    InvariantError,
    OverloadedError,
    SettingsError,
    TercetError,
    UnavailableError,
)
from tercet.printable import printable

DISK_FULL_RETRY_S = 10.0
BUSY_RETRY_S = 1.0
AWAY_RETRY_S = 2.0
_QUOTED_CHARS = 200

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DENIED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY}

# PostgreSQL's SQLSTATE, as far as a failure is not our bug. Appendix A of its manual.
_DISK_FULL = "53100"
_LOCK_TIMEOUT, _STATEMENT_TIMEOUT = "55P03", "57014"
_CONFLICTS = {"40001", "40P01"}
_READ_ONLY = "25006"


def is_gone(error: BaseException | None) -> bool:
    """Whether the connection that raised `error` is of no more use."""
    # pg8000 passes time-outs of its socket on as they are.
    if error is None or isinstance(error, OSError):
        return error is not None
    state = sql_state(error)
    return state[:2] in {"08", "57"} and state != _STATEMENT_TIMEOUT


def sql_state(error: BaseException) -> str:
    """PostgreSQL's code of an error that pg8000 raised, or an empty text."""
    fields = error.args[0] if error.args else None
    return str(fields.get("C", "")) if isinstance(fields, dict) else ""


def failure_of(error: Exception, shown: str) -> TercetError:
    """The error to raise in place of one that SQLAlchemy or a driver raised.

    Args:
        shown: what may be said of the database.
    """
    if isinstance(error, exc.TimeoutError):
        return OverloadedError(f"every connection to {shown} is in use", retry_after_s=BUSY_RETRY_S)
    origin = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(origin, sqlite3.Error):
        return _sqlite_failure(origin, shown)
    if origin is not None and (state := sql_state(origin)):
        return _postgresql_failure(origin, state, shown)
    if isinstance(origin, OSError) or isinstance(error, exc.InterfaceError | exc.DisconnectionError):
        return UnavailableError(f"{shown} does not answer ({_said(origin)})", retry_after_s=AWAY_RETRY_S)
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return UnavailableError(f"the connection to {shown} broke", retry_after_s=AWAY_RETRY_S)
    return InvariantError(f"{shown}: {type(error).__name__}")


def _sqlite_failure(error: sqlite3.Error, shown: str) -> TercetError:
    # The lower byte; the rest says more of the same.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return OverloadedError(f"no room on disk for {shown}", retry_after_s=DISK_FULL_RETRY_S)
    if code in _BUSY:
        return OverloadedError(f"{shown} is held by another process for too long", retry_after_s=BUSY_RETRY_S)
    if code in _BROKEN:
        return IntegrityError(f"{shown} is damaged or no SQLite file: move it away, or restore it from a backup")
    if code in _DENIED:
        return SettingsError(f"cannot write {shown} ({_said(error)}): is the folder there, and may you write it?")
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}:
        return UnavailableError(f"{shown} cannot be read or written ({_said(error)})", retry_after_s=AWAY_RETRY_S)
    return InvariantError(f"{shown}: {getattr(error, 'sqlite_errorname', 'SQLite error')}")


def _postgresql_failure(error: BaseException, state: str, shown: str) -> TercetError:
    said = f"{_said(error)}, SQLSTATE {state}"
    if state == _DISK_FULL:
        return OverloadedError(f"no room on disk for {shown}", retry_after_s=DISK_FULL_RETRY_S)
    if state[:2] == "53":
        return OverloadedError(f"{shown} is overloaded ({said})", retry_after_s=BUSY_RETRY_S)
    if state == _LOCK_TIMEOUT or state in _CONFLICTS:
        return OverloadedError(f"{shown} is held by others for too long ({said})", retry_after_s=BUSY_RETRY_S)
    if state == _STATEMENT_TIMEOUT or state[:2] in {"08", "57", "58"}:
        return UnavailableError(f"{shown} is away or too slow ({said})", retry_after_s=AWAY_RETRY_S)
    if state == _READ_ONLY:
        return UnavailableError(f"{shown} takes no writes: is it a standby? ({said})", retry_after_s=AWAY_RETRY_S)
    if state[:2] == "28":
        return SettingsError(f"{shown} refuses the user: check name and password ({said})")
    if state == "3D000":
        return SettingsError(f"{shown} is not there: make it with `createdb` ({said})")
    if state == "42501":
        return SettingsError(f"{shown} denies the user what is needed: grant it CREATE on the schema ({said})")
    return InvariantError(f"{shown}: SQLSTATE {state}")


def _said(error: BaseException | None) -> str:
    """The driver's own words, in one short line; of PostgreSQL's only the message, never its detail."""
    if error is None:
        return "no reason given"
    fields = error.args[0] if error.args else None
    text = str(fields.get("M", "")) if isinstance(fields, dict) else str(error)
    cause = f": {error.__cause__}" if error.__cause__ else ""
    return printable((text or type(error).__name__) + cause, _QUOTED_CHARS)
