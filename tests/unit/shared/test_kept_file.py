"""One small file that is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tercet.errors import IntegrityError, UnavailableError
from tercet.kept_file import forget_kept, read_kept, write_kept


def test_what_was_written_is_read_and_nothing_else_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "state" / "file.json"
    assert read_kept(path, 100) is None
    for data in (b"", b"one\ntwo", bytes(range(256))):
        write_kept(path, data)
        assert read_kept(path, 256) == data
    assert [one.name for one in path.parent.iterdir()] == ["file.json"]
    forget_kept(path)
    forget_kept(path)
    assert read_kept(path, 100) is None


def test_every_damage_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_kept(path, b"precious")
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole + b"x", whole[:70] + b"!" + whole[71:], b"0" + whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="delete it"):
            read_kept(path, 100)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    write_kept(tmp_path / "file", bytes(101))
    with pytest.raises(IntegrityError):
        read_kept(tmp_path / "file", 100)


def test_a_disk_that_takes_nothing_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    write_kept(tmp_path / "file", b"old")
    (tmp_path / "blocked").write_bytes(b"")
    with pytest.raises(UnavailableError, match="blocked"):
        write_kept(tmp_path / "blocked" / "file", b"new")
    limited = os.fork()
    if not limited:
        # In a child whose files may not grow: as on a full disk.
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        try:
            write_kept(tmp_path / "file", bytes(1000))
        except UnavailableError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(limited, 0)[1]) == 7
    assert read_kept(tmp_path / "file", 100) == b"old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["blocked", "file"]
