"""What a run gave, as people and programs read it on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
import numpy as np

from tercet.printable import printable
from tercet_cloud.dag.records import RunRecord

_SHOWN_CHARS = 2000


def run_as_json(record: RunRecord, outputs: Mapping[str, Any] | None = None) -> str:
    """A run, and what it gave if that is told."""
    shown = record.to_json()
    if outputs is not None:
        shown["outputs"] = {name: plain(value) for name, value in outputs.items()}
    return json.dumps(shown, indent=2, ensure_ascii=False)


def echo_outputs(outputs: Mapping[str, Any]) -> None:
    for name, value in outputs.items():
        click.echo(f"{name}: {_text(value)}")


def plain(value: Any) -> Any:
    """A value as JSON: arrays by what they are, bytes by how many, both too long to print."""
    if isinstance(value, np.ndarray):
        small = value.size <= 64
        return {
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            **({"data": value.tolist()} if small else {}),
        }
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": len(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return printable(repr(value), _SHOWN_CHARS)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return "\n".join(printable(line) for line in value.splitlines()) if "\n" in value else printable(value)
    return printable(json.dumps(plain(value), ensure_ascii=False), _SHOWN_CHARS)
