"""A private PostgreSQL server for tests: made with initdb, on a free port, gone on any exit."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from support.processes import free_port
from tercet.process import die_with_parent

USER, PASSWORD, DATABASE = "tercet", "not: a/secret@all", "tercet"
START_S = 30.0


def _binaries() -> Path | None:
    """The folder of PostgreSQL's programs, wherever the distribution keeps it."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max((path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)


BINARIES = _binaries()


class PrivatePostgres:
    """One server in a folder of its own; durable as PostgreSQL is by default."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries, self._data, self._user = binaries, folder / "data", user
        self.log = folder / "log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, url: str) -> str:
        """The same database by the server's Unix socket."""
        user, _, place = url.partition("@")
        socket = quote(str(self._data.parent / f".s.PGSQL.{self.port}"), safe="")
        return f"{user}@/{place.partition('/')[2]}?unix_sock={socket}"

    def create(self) -> None:
        password = self._data.with_name("password")
        password.write_text(PASSWORD)
        if self._user:
            shutil.chown(password, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", USER, "--pwfile", str(password), "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._data.parent),
            "shared_buffers": "16MB",
            # After a crash; one call instead of one a file.
            "recovery_init_sync_method": "syncfs",
            "max_connections": "40",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *_flags(options)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._user,
                preexec_fn=die_with_parent,
            )
        deadline_s = time.monotonic() + START_S
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"PostgreSQL did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends all sessions properly; SIGQUIT leaves the rest to recovery, as a crash would."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S)
            self._process = None

    def _accepts(self) -> bool:
        command = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-d", DATABASE]
        return subprocess.run(command, check=False, timeout=START_S).returncode == 0

    def new_database(self, name: str | None = None, **settings: str) -> str:
        """The URL of a fresh database, for whose sessions `settings` hold; without a name, of one of its own."""
        name = name or f"database_{next(self._names)}"
        self._query(f"CREATE DATABASE {name}")
        for setting, value in settings.items():
            self._query(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        return self._url(name)

    def _query(self, statement: str) -> None:
        command = [self._binaries / "psql", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        subprocess.run(
            [*command, "-d", "postgres", "-c", statement],
            check=True,
            timeout=START_S,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._binaries / program, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, cwd="/", user=self._user
        )
        assert done.returncode == 0, done.stderr


def _flags(options: dict[str, str]) -> Iterator[str]:
    for name, value in options.items():
        yield from ("-c", f"{name}={value}")


@contextlib.contextmanager
def private_postgres() -> Iterator[PrivatePostgres]:
    """A running server with an empty database while entered. PostgreSQL's programs must be there."""
    assert BINARIES is not None
    # It refuses to run as root, and must be able to reach its folder.
    user = _unprivileged() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="tercet-postgres-", dir="/tmp"))
    try:
        if user:
            shutil.chown(folder, user)
        server = PrivatePostgres(BINARIES, folder, user)
        try:
            server.create()
            server.start()
            server.new_database(DATABASE)
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"
