"""Databases by URL: which are possible, what is told of them, and what their failures mean."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.exc import OperationalError

from tercet.errors import (
    IntegrityError,
    InvariantError,
    OverloadedError,
    SettingsError,
    TercetError,
    UnavailableError,
)
from tercet_cloud.database import Database
from tercet_cloud.database_failures import failure_of
from tercet_cloud.database_schema import Schema
from tercet_cloud.database_url import DatabaseUrl, sqlite_url


def parse(url: str) -> DatabaseUrl:
    return DatabaseUrl.parse(url, "--results")


def test_a_file_is_absolute_whatever_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = parse("sqlite:///state/results.db")
    monkeypatch.chdir("/")
    assert url.file == tmp_path / "state/results.db"
    assert parse(url.text).file == url.file
    assert parse(sqlite_url(Path("/a b/ü.db"))).file == Path("/a b/ü.db")


def test_plain_postgresql_goes_through_pg8000() -> None:
    for scheme in ("postgresql", "postgres", "postgresql+pg8000"):
        url = parse(f"{scheme}://me:s%40cret@db.local/tercet?sslmode=require")
        assert url.url.drivername == "postgresql+pg8000"
        assert (url.url.password, url.sslmode) == ("s@cret", "require")
        assert parse(url.text) == url


@pytest.mark.parametrize(
    "url",
    [
        "results.db",
        "",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///results.db?mode=s3cret",
        "sqlite://s3cret/results.db",
        "mysql://me:s3cret@db/tercet",
        "postgresql+psycopg://me:s3cret@db/tercet",
        "postgresql://me:s3cret@db",
        "postgresql://:s3cret@db/tercet",
        "postgresql://me:s3cret@/tercet",
        "postgresql://me@db/tercet?password=s3cret",
        "postgresql://me:s3cret@db/tercet?sslmode=s3cret",
        "postgresql://me:s3cret@db:port/tercet",
    ],
)
def test_an_impossible_url_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(SettingsError, match="--results") as caught:
        parse(url)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_told_of_a_database_has_no_password() -> None:
    url = parse("postgresql://me:s3cret@db.local:5433/tercet")
    assert url.shown == "PostgreSQL database tercet at db.local:5433"
    assert "s3cret" not in repr(url)


def test_a_full_disk_is_an_overload_and_a_broken_file_is_named(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "full.db")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count=3")
    with pytest.raises(sqlite3.OperationalError) as full:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()
    error = failure_of(OperationalError("INSERT", {}, full.value), "the file")
    assert isinstance(error, OverloadedError)
    assert error.retry_after_s
    assert str(error) == "no room on disk for the file"

    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all" * 1000)
    with pytest.raises(IntegrityError, match="restore"), Database(parse(sqlite_url(broken))).reading():
        raise AssertionError("was opened")


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", OverloadedError),
        ("53300", OverloadedError),
        ("55P03", OverloadedError),
        ("40P01", OverloadedError),
        ("57P01", UnavailableError),
        ("57014", UnavailableError),
        ("08006", UnavailableError),
        ("25006", UnavailableError),
        ("28P01", SettingsError),
        ("42501", SettingsError),
        ("42601", InvariantError),
    ],
)
def test_codes_of_postgresql_say_whether_to_wait(state: str, kind: type[TercetError]) -> None:
    told = OperationalError("SELECT", {}, Exception({"C": state, "M": "a message", "D": "a detail"}))
    error = failure_of(told, "the server")
    assert type(error) is kind
    assert "detail" not in str(error)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(parse(sqlite_url(tmp_path / "file" / "folder" / "results.db")))
    with pytest.raises(SettingsError, match="choose another one"), database.reading():
        raise AssertionError("was opened")


def test_what_is_raised_inside_rolls_everything_back(tmp_path: Path) -> None:
    database = Database(parse(sqlite_url(tmp_path / "some.db")))
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE t (x)"))

    def fail() -> None:
        with database.writing() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 0
    database.close()


def test_a_server_that_is_not_there_or_says_nothing_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tercet_cloud.database.CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = Database(parse(f"postgresql://me:s3cret@127.0.0.1:{port}/tercet?sslmode=disable"))
        with pytest.raises(UnavailableError, match="does not answer") as caught, database.reading():
            raise AssertionError("was opened")
        assert "s3cret" not in str(caught.value)
    with pytest.raises(UnavailableError, match="does not answer"), database.reading():
        raise AssertionError("was opened")


def test_stores_of_other_names_share_a_database(tmp_path: Path) -> None:
    database = Database(parse(sqlite_url(tmp_path / "some.db")))
    for name, version in (("runs", 3), ("results", 1)):
        Schema(name, version, MetaData()).prepare(database)
    Schema("runs", 3, MetaData()).check(database)
    with pytest.raises(SettingsError, match="runs of version 3"):
        Schema("runs", 2, MetaData()).prepare(database)
    database.close()
