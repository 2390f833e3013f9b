"""A large result is in the folder whole or not at all, whoever else keeps the same one."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tercet.errors import IntegrityError, NotFoundError
from tercet_cloud.dag.kept_values import ValueFolder

DATA = bytes(range(256)) * 4096


def test_many_threads_that_keep_the_same_result_all_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, together, fsync = ValueFolder(tmp_path), threading.Barrier(4), os.fsync
    first = threading.local()

    def slowly(file: int) -> None:
        # All have written their file before any gives it its name.
        if not getattr(first, "seen", False):
            first.seen = True
            together.wait(10)
        fsync(file)

    monkeypatch.setattr(os, "fsync", slowly)
    with ThreadPoolExecutor(4) as threads:
        (address,) = set(threads.map(folder.put, [DATA] * 4))
    assert folder.get(address) == DATA
    assert [path.name for path in tmp_path.glob("*/*")] == [address]


def test_a_torn_file_is_written_again(tmp_path: Path) -> None:
    folder = ValueFolder(tmp_path)
    (path,) = (tmp_path / address[:2] / address for address in [folder.put(DATA)])
    path.write_bytes(DATA[:100])
    with pytest.raises(IntegrityError, match="does not have the content"):
        folder.get(path.name)
    assert folder.get(folder.put(DATA)) == DATA


def test_what_another_wrote_is_synchronised_before_it_counts_as_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = ValueFolder(tmp_path).put(DATA)
    synchronised = list[Path]()
    monkeypatch.setattr(os, "fsync", lambda file: synchronised.append(Path(f"/proc/self/fd/{file}").readlink()))
    ValueFolder(tmp_path).put(DATA)
    assert tmp_path / address[:2] in synchronised


def test_what_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    folder = ValueFolder(tmp_path)
    address = folder.put(DATA)
    folder.remove(address)
    folder.remove(address)
    with pytest.raises(NotFoundError, match="is missing"):
        folder.get(address)
