"""A file that every execution of a step appends to: when it began, in which process, and what became of it.

One line a write, so that a step that is killed leaves whole lines. Times are of the machine's monotonic clock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Execution:
    """One time that a step ran.

    Args:
        key: of the node, or of its item; the same for every try.
        ended_s: None if its process died in it, or it is under way.
        failed: it raised, as it was told to.
    """

    key: str
    pid: int
    began_s: float
    ended_s: float | None = None
    failed: bool = False


@contextmanager
def executing(trace: str, key: str) -> Iterator[None]:
    """Note beginning and end of what is done within."""
    began_s = time.monotonic()
    told = {"key": key, "pid": os.getpid(), "began_s": began_s}
    _append(trace, told)
    failed = True
    try:
        yield
        failed = False
    finally:
        _append(trace, {**told, "ended_s": time.monotonic(), "failed": failed})


def executions(trace: Path) -> list[Execution]:
    """All so far, in the order in which they began."""
    found: dict[tuple[str, int, float], Execution] = {}
    # A last line may be half written.
    lines = trace.read_text(encoding="utf-8").split("\n")[:-1] if trace.exists() else []
    for line in lines:
        execution = Execution(**json.loads(line))
        found[execution.key, execution.pid, execution.began_s] = execution
    return sorted(found.values(), key=lambda execution: execution.began_s)


def _append(trace: str, told: dict[str, object]) -> None:
    line = f"{json.dumps(told)}\n".encode()
    file = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)
