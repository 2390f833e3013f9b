"""What a run gave, as people and programs read it on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tercet.errors import TercetError
from tercet.printable import printable
from tercet_cloud.dag.plain_values import SHOWN_CHARS, plain_json
from tercet_cloud.dag.records import RunRecord


def echo_run(
    record: RunRecord,
    outputs: Mapping[str, Any] | None,
    missing: Mapping[str, TercetError],
    *,
    as_json: bool,
) -> None:
    """A run's outputs, a line each; or its record as JSON, with its outputs unless they are None.

    Outputs that are missing are named with the reason: on standard error, and in the JSON.
    """
    if as_json:
        given = {} if outputs is None else {"outputs": outputs}
        why = {"missing": {name: str(error) for name, error in missing.items()}} if missing else {}
        click.echo(plain_json({**record.to_json(), **given, **why}, indent=2))
    else:
        for name, value in (outputs or {}).items():
            click.echo(f"{name}: {_text(value)}")
    for name, error in missing.items():
        click.echo(f"tercet: {name}: {error}", err=True)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return "\n".join(printable(line) for line in value.splitlines()) if "\n" in value else printable(value)
    return printable(plain_json(value), SHOWN_CHARS)
