"""The URL of a database: which ones are possible, and what of them may be shown.

    sqlite:///FILE                                    relative to the working folder; four slashes begin a path at /
    postgresql://USER:PASSWORD@HOST:PORT/DATABASE     through pg8000; `?sslmode=` require, verify-full or disable
    postgresql://USER@/DATABASE?unix_sock=/run/postgresql/.s.PGSQL.5432

A password is never shown; everything that is told of a database goes through `shown`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from tercet.errors import SettingsError
from tercet.printable import printable

EXAMPLES = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_POSTGRESQL = {"postgresql", "postgres", "postgresql+pg8000"}
_SQLITE = {"sqlite", "sqlite+pysqlite"}
_SSL_MODES = ("disable", "prefer", "require", "verify-full")


@dataclass(frozen=True)
class DatabaseUrl:
    """A checked URL. `file` is absolute, and None unless the database is one."""

    url: URL = field(repr=False)
    shown: str
    file: Path | None = None
    sslmode: str = "prefer"
    unix_sock: str = ""

    @classmethod
    def parse(cls, text: str, option: str) -> DatabaseUrl:
        """SettingsError, without a word of `text` that may be a password, for what is no such URL.

        Args:
            option: where it comes from, such as "--results".
        """
        try:
            url = make_url(text)
        except (ArgumentError, ValueError) as error:
            raise SettingsError(f"{option} is not the URL of a database: use {EXAMPLES}") from error
        if url.drivername in _SQLITE:
            return _sqlite(url, option)
        if url.drivername in _POSTGRESQL:
            return _postgresql(url, option)
        raise SettingsError(f"{option}: no database of kind {printable(url.drivername, 40)!r} here: use {EXAMPLES}")

    @property
    def text(self) -> str:
        """For `parse` in another process, whatever its working folder. Holds the password."""
        return self.url.render_as_string(hide_password=False)


def sqlite_url(path: Path) -> str:
    """The URL of a file."""
    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def _sqlite(url: URL, option: str) -> DatabaseUrl:
    if url.host or url.query or url.username or url.port:
        raise SettingsError(f"{option}: a file's URL has three slashes and no options: sqlite:///FILE")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise SettingsError(f"{option}: name a file, because what is in memory does not last: sqlite:///FILE")
    file = Path(url.database).expanduser().absolute()
    return DatabaseUrl(URL.create("sqlite", database=str(file)), str(file), file)


def _postgresql(url: URL, option: str) -> DatabaseUrl:
    query = dict(url.query)
    sslmode, unix_sock = query.pop("sslmode", "prefer"), query.pop("unix_sock", "")
    if query:
        # Only the name: a value may be a password.
        raise SettingsError(
            f"{option}: option {printable(next(iter(query)), 40)!r} of the URL is not known; there are sslmode and "
            "unix_sock"
        )
    if sslmode not in _SSL_MODES:
        raise SettingsError(f"{option}: sslmode is one of {', '.join(_SSL_MODES)}")
    if not url.username or not url.database:
        raise SettingsError(f"{option}: the URL lacks the user or the database: use {EXAMPLES}")
    if not (url.host or unix_sock):
        raise SettingsError(f"{option}: the URL lacks a host, or ?unix_sock=PATH: use {EXAMPLES}")
    where = unix_sock if isinstance(unix_sock, str) and unix_sock else f"{url.host}:{url.port or 5432}"
    return DatabaseUrl(
        url.set(drivername="postgresql+pg8000"),
        printable(f"PostgreSQL database {url.database} at {where}", 300),
        sslmode=str(sslmode),
        unix_sock=str(unix_sock),
    )
