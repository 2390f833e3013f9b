"""The process that is recorded: `python -m crash.recorded WORKLOAD FOLDER SEED [OPTION…]`.

A workload is a module with

    run(folder, seed, mark, options)   does what is to survive; calls mark({...}) whenever it was told something
    check(folder, seed, marks)         opens what a cut left; a line for every promise broken by the marks so far

Marks are lines of JSON in FOLDER/marks, so that the log has them in order with the writes: they stand for a world
outside that remembers what it was told.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

MARKS = "marks"
Mark = Mapping[str, Any]


class Workload(Protocol):
    """See the module."""

    def run(self, folder: Path, seed: int, mark: Callable[[Mark], None], options: Sequence[str]) -> None: ...

    def check(self, folder: Path, seed: int, marks: Sequence[Mark]) -> list[str]: ...


def load(name: str) -> Workload:
    return cast(Workload, importlib.import_module(name))


def main(arguments: Sequence[str]) -> None:
    name, folder, seed, *options = arguments
    descriptor = os.open(Path(folder) / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def mark(what: Mark) -> None:
        os.write(descriptor, json.dumps(what).encode() + b"\n")

    load(name).run(Path(folder), int(seed), mark, options)
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
