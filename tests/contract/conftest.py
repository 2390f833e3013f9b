"""Databases that contract suites run on: SQLite, and PostgreSQL where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import BINARIES, PrivatePostgres, private_postgres
from tercet_cloud.database_url import sqlite_url


@pytest.fixture(scope="session")
def server() -> Iterator[PrivatePostgres]:
    if BINARIES is None:
        pytest.skip("no initdb on this machine: the suite ran on SQLite only")
    with private_postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "state" / "contract.db")
    running: PrivatePostgres = request.getfixturevalue("server")
    return running.new_database()
