"""How a bench ends: its report in a file of the folder it was given, and printed as JSON or as tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from tercet.process import Shutdown, until_shutdown

INTERRUPTED = 130

Report = TypeVar("Report", bound=Mapping[str, Any])


def machine() -> str:
    """The machine in a few words, as reports name it."""
    return f"{os.cpu_count()} × {platform.machine()}, Python {platform.python_version()}"


def publish(report: Mapping[str, Any], path: Path, show: Callable[[Console], None], *, as_json: bool) -> None:
    """Write a report to `path`, whose folder is made, and print it: as JSON, or what `show` draws."""
    text = json.dumps(report, indent=2, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)
    else:
        show(Console())


async def measure_and_publish(
    measurement: Awaitable[Report],
    path: Path,
    show: Callable[[Report, Console], None],
    shutdown: Shutdown,
    *,
    as_json: bool,
) -> int:
    """Exit status: 0 once measured, whether or not goals are met, and INTERRUPTED if `shutdown` came first."""
    status = [INTERRUPTED]

    async def measure() -> None:
        report = await measurement
        publish(report, path, lambda console: show(report, console), as_json=as_json)
        status[0] = os.EX_OK

    await until_shutdown(shutdown, measure())
    return status[0]
