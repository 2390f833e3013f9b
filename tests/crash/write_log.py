"""Runs a workload under the recorder (support/write_log.c) and reads back what it wrote, in order."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "support" / "write_log.c"
TESTS = Path(__file__).parents[1]
_HEADER = struct.Struct("<BIQQ")
_RUN_S = 120


class Op(IntEnum):
    """As in write_log.c."""

    WRITE = 1
    TRUNCATE = 2
    SYNC = 3
    UNLINK = 4
    RENAME = 5
    CREATE = 6


@dataclass(frozen=True)
class Event:
    """One call. `number`: offset of a write, length of a truncation. `data`: of a write, or a rename's new name."""

    op: Op
    name: str
    number: int
    data: bytes


def compiler() -> str | None:
    """The C compiler of this machine, if it has one."""
    return shutil.which("cc")


def build_recorder(folder: Path) -> Path:
    """Compile the recorder into `folder`."""
    library = folder / "write_log.so"
    command = [compiler() or "cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, timeout=60)
    return library


def record(recorder: Path, workload: str, seed: int, folder: Path, options: Sequence[str] = ()) -> list[Event]:
    """Run `workload` in a process of its own on `folder`; everything it did to files there."""
    folder = folder.resolve()
    log = folder.with_name(f"{folder.name}.log")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(recorder),
        "WRITE_LOG_FOLDER": str(folder),
        "WRITE_LOG_FILE": str(log),
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "crash.recorded", workload, str(folder), str(seed), *options]
    subprocess.run(command, env=environment, check=True, timeout=_RUN_S)
    events = list(_read(log.read_bytes()))
    log.unlink()
    return events


def _read(data: bytes) -> Iterator[Event]:
    offset = 0
    while offset < len(data):
        op, name_bytes, number, data_bytes = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        name = data[offset : offset + name_bytes].decode()
        offset += name_bytes
        yield Event(Op(op), name, number, data[offset : offset + data_bytes])
        offset += data_bytes
