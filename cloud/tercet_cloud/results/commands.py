"""`tercet results`: what durable frames have come to, as the cloud keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tercet.identifiers import NodeId
from tercet.printable import printable
from tercet.state_folder import default_state

if TYPE_CHECKING:
    from tercet_cloud.results.reading import ResultReader, StoredResult

# Where `tercet cloud run` keeps them unless it is told otherwise.
DEFAULT_STATE = default_state(NodeId("cloud"))
# Of a table that is not shown in a terminal.
_WIDE_COLUMNS = 240
_Command = Callable[..., None]


def _where(function: _Command) -> _Command:
    """--results and --state, which say where the results are."""
    function = click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="TERCET_CLOUD_STATE",
        show_envvar=True,
        default=DEFAULT_STATE,
        show_default=True,
        help="The cloud's folder, if its results are in a file there.",
    )(function)
    return click.option(
        "--results",
        "url",
        envvar="TERCET_CLOUD_RESULTS",
        show_envvar=True,
        default="",
        help="Their database, as `tercet cloud run --results` has it: sqlite:///FILE or postgresql://….",
    )(function)


_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def results() -> None:
    """Results of durable frames: every frame's once, kept by the cloud."""


@results.command(name="list")
@click.option("--node", help="Of this device only, in order of its sequence.")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    help="Begin behind this sequence of --node; without --node, behind this position in the order of storing.",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many at most; 0 for all."
)
@click.option("--outputs", is_flag=True, help="With --json, the outputs as well.")
@_json
@_where
def list_results(
    node: str | None, after: int | None, limit: int, outputs: bool, as_json: bool, url: str, state: Path
) -> None:
    """Show stored results: the last ones, or those behind --after. Times are UTC, of the cloud's clock.

    \b
    Example, everything as JSON lines, and later what came since:
      tercet results list --limit 0 --json > results.jsonl
      tercet results list --limit 0 --json --after POSITION >> results.jsonl
    """
    with _reader(url, state) as reader:
        found = reader.in_order(node=node, after=after, limit=limit or None, outputs=outputs and as_json)
        if as_json:
            for result in found:
                click.echo(json.dumps(_facts(result)))
            return
        _print_lines([_cells(result) for result in found])


def _print_lines(rows: list[tuple[str, ...]]) -> None:
    """A line a result. Where a terminal is narrow, labels and models are cut short, and nothing else."""
    headings = ("position", "node", "sequence", "captured", "label", "sure", "model", "note")
    table = Table(box=None)
    for heading, cells in zip(headings, zip(headings, *rows, strict=True), strict=True):
        table.add_column(
            heading,
            justify="right" if heading in ("position", "sequence", "sure") else "left",
            no_wrap=True,
            min_width=len(heading) if heading in ("label", "model") else max(map(len, cells)),
        )
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE_COLUMNS)
    console.print(table)


@results.command()
@click.argument("node")
@click.argument("sequence", type=click.IntRange(min=1))
@_json
@_where
def show(node: str, sequence: int, as_json: bool, url: str, state: Path) -> None:
    """Show one result with its outputs."""
    from tercet_cloud.results.result import ResultKey

    with _reader(url, state) as reader:
        result = reader.one(ResultKey(node, sequence))
    facts = _facts(result)
    if as_json:
        click.echo(json.dumps(facts))
        return
    outputs = facts.pop("outputs")
    table = Table(show_header=False, title=escape(f"{node} {sequence}"))
    for name, value in facts.items():
        table.add_row(name, escape(printable(str(value))))
    for name, output in outputs.items():
        table.add_row(f"output {escape(printable(name))}", f"{output['dtype']} {output['shape']}")
    Console().print(table)


@results.command()
@click.option("--node", help="Of this device only.")
@_json
@_where
def count(node: str | None, as_json: bool, url: str, state: Path) -> None:
    """Count stored results by device."""
    with _reader(url, state) as reader:
        counts = reader.counts(node)
    if as_json:
        for one in counts:
            click.echo(json.dumps({**vars(one), "last_received": _time(one.last_received_unix_us)}))
        return
    table = Table("node", "results", "degraded", "late", "last received (UTC)")
    for one in counts:
        numbers = (one.results, one.degraded, one.late)
        table.add_row(escape(one.node), *map(str, numbers), _time(one.last_received_unix_us)[:19])
    Console().print(table)


@contextmanager
def _reader(url: str, state: Path) -> Iterator[ResultReader]:
    # Deferred so that `--help` is quick.
    from tercet_cloud.database import Database
    from tercet_cloud.database_url import DatabaseUrl, sqlite_url
    from tercet_cloud.results.reading import ResultReader

    database = Database(DatabaseUrl.parse(url or sqlite_url(state / "results.db"), "--results"), connections=1)
    try:
        yield ResultReader(database)
    finally:
        database.close()


def _cells(result: StoredResult) -> tuple[str, ...]:
    notes = {"degraded": result.degraded, "late": result.late, "time uncertain": result.captured_uncertain}
    return (
        str(result.position),
        result.key.node,
        str(result.key.sequence),
        _time(result.captured_unix_us)[:19].replace("T", " "),
        printable(result.label or ""),
        "" if result.confidence is None else f"{result.confidence:.3f}",
        printable(result.model),
        ", ".join(note for note, holds in notes.items() if holds),
    )


def _facts(result: StoredResult) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "position": result.position,
        "node": result.key.node,
        "sequence": result.key.sequence,
        "model": result.model,
        "plan": result.plan,
        "label": result.label,
        "confidence": result.confidence,
        "degraded": result.degraded,
        "reason": result.reason,
        "captured": _time(result.captured_unix_us),
        "captured_by": result.age_source.value,
        "captured_uncertain": result.captured_uncertain,
        "received": _time(result.received_unix_us),
        "late": result.late,
    }
    if result.outputs is not None:
        facts["outputs"] = _tensors(result.outputs)
    return facts


def _tensors(sealed: bytes) -> dict[str, Any]:
    from tercet.wire.messages import Answer

    return {
        name: {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.tolist()}
        for name, array in Answer.open(sealed).outputs().items()
    }


def _time(unix_us: int) -> str:
    return datetime.fromtimestamp(unix_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
