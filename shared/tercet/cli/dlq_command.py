"""`tercet dlq`: frames that failed by their own fault too often, looked at and given another chance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tercet.printable import printable

if TYPE_CHECKING:
    from tercet.durable.dead_letters import DeadLetter, DeadLetterBox

_STATE = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tercet/state"),
    show_default=True,
    help="A node's state folder, or the folder above those of several nodes.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def dlq() -> None:
    """Look at the dead letters of the nodes on this machine, and try them again.

    A frame that fails in its segment every time, or takes the process down, is put aside after a few tries so that
    it holds up no other. These commands work while the nodes run, and while they do not.
    """


@dlq.command("list")
@_STATE
@_JSON
def list_letters(state: Path, as_json: bool) -> None:
    """List dead letters, the oldest first.

    \b
    Example:
      tercet dlq list --state /var/lib/tercet/edge-1
    """
    found = [(box.path, letter) for box in _boxes(state, read_only=True) for letter in box.letters()]
    if as_json:
        click.echo(json.dumps([_as_dict(path, letter) for path, letter in found], indent=2))
        return
    if not found:
        click.echo(f"no dead letters in {state}")
        return
    console = Console()
    for path in dict.fromkeys(path for path, _ in found):
        console.print(_table(path, [letter for of, letter in found if of == path]))


@dlq.command()
@click.argument("frame", metavar="NODE/SEQUENCE")
@_STATE
@_JSON
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the sealed frame to this file; docs/wire.md says what is in it.",
)
def show(frame: str, state: Path, as_json: bool, save: Path | None) -> None:
    """Show one dead letter: why it died, and what it holds.

    \b
    Example:
      tercet dlq show cam-3/1984163221602305
    """
    for box, letter in _found(state, [frame], read_only=True):
        sealed = box.sealed(letter)
        if save is not None:
            save.write_bytes(sealed)
        facts = {**_as_dict(box.path, letter), "frame_header": _header(sealed)}
        if as_json:
            click.echo(json.dumps(facts, indent=2))
        else:
            _print_facts(facts)


@dlq.command()
@click.argument("frames", metavar="NODE/SEQUENCE...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All dead letters there are.")
@_STATE
@_JSON
def retry(frames: tuple[str, ...], every: bool, state: Path, as_json: bool) -> None:
    """Put dead letters back, behind the frames that wait, with all their tries before them.

    A node that runs takes them up within a second; else it does when it is started.

    \b
    Example:
      tercet dlq retry --all --state .tercet/state/edge-1
    """
    from tercet.errors import SettingsError

    if every == bool(frames):
        raise SettingsError("name the frames to retry, as NODE/SEQUENCE, or give --all")
    if every:
        chosen: Iterator[tuple[DeadLetterBox, DeadLetter]] = (
            (box, letter) for box in _boxes(state, read_only=False) for letter in box.letters()
        )
    else:
        chosen = _found(state, list(frames), read_only=False)
    back = [letter.key for box, letter in chosen if box.retry(letter)]
    if as_json:
        click.echo(json.dumps({"retried": back}))
    else:
        click.echo(f"{len(back)} put back" + (f": {', '.join(map(printable, back))}" if back else ""))


def _boxes(state: Path, *, read_only: bool) -> Iterator[DeadLetterBox]:
    """The boxes of the journals in a folder and in those directly below it, one after the other."""
    # Deferred so that `--help` is quick.
    from tercet.durable.dead_letters import DeadLetterBox
    from tercet.errors import NotFoundError, SettingsError

    try:
        paths = [path for path in sorted([*state.glob("*.db"), *state.glob("*/*.db")]) if DeadLetterBox.is_in(path)]
    except OSError as error:
        raise SettingsError(f"cannot read {error.filename}: {error.strerror}") from error
    if not paths:
        raise NotFoundError(f"no journal in {state}: name a node's folder by --state")
    for path in paths:
        with DeadLetterBox(path, read_only=read_only) as box:
            yield box


def _found(state: Path, frames: list[str], *, read_only: bool) -> Iterator[tuple[DeadLetterBox, DeadLetter]]:
    """The letters of these names; NotFoundError, before any is given, if one is nowhere."""
    from tercet.errors import NotFoundError

    wanted = [_key(frame) for frame in frames]
    there = {(letter.node, letter.sequence) for box in _boxes(state, read_only=True) for letter in box.letters()}
    for node, sequence in wanted:
        if (node, sequence) not in there:
            raise NotFoundError(f"{printable(node)}/{sequence} is not among the dead letters in {state}")
    for box in _boxes(state, read_only=read_only):
        for letter in box.letters():
            if (letter.node, letter.sequence) in wanted:
                yield box, letter


def _key(frame: str) -> tuple[str, int]:
    from tercet.errors import SpecError

    node, _, sequence = frame.rpartition("/")
    if not node or not sequence.isascii() or not sequence.isdigit():
        raise SpecError(f"{printable(frame)!r} is not a frame: name it as `tercet dlq list` does, NODE/SEQUENCE")
    return node, int(sequence)


def _table(path: Path, letters: list[DeadLetter]) -> Table:
    table = Table(title=f"dead letters in {escape(printable(str(path)))}")
    table.add_column("frame", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("tries", justify="right")
    table.add_column("died, UTC")
    table.add_column("error", overflow="fold")
    for letter in letters:
        table.add_row(
            escape(printable(letter.key)),
            str(letter.size_bytes),
            str(letter.tries),
            _time(letter.died_us),
            escape(printable(f"{letter.error_kind}: {letter.error}", 200)),
        )
    return table


def _as_dict(path: Path, letter: DeadLetter) -> dict[str, Any]:
    return {
        "frame": letter.key,
        "journal": str(path),
        **asdict(letter),
        "died": _time(letter.died_us),
    }


def _header(sealed: bytes) -> dict[str, Any]:
    """What a frame says of itself; `unreadable` if it is not a frame any more."""
    from tercet.errors import ContractError
    from tercet.wire.messages import Frame

    try:
        header = Frame.open(sealed).header
    except ContractError as error:
        return {"unreadable": str(error)}
    return {
        "model": header.model,
        "plan": header.plan,
        "boundary": header.boundary,
        "tensors": [
            {"name": tensor.name, "codec": tensor.codec, "shape": list(tensor.shape), "bytes": tensor.payload_bytes}
            for tensor in header.tensors
        ],
    }


def _print_facts(facts: dict[str, Any]) -> None:
    console = Console()
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    header = facts.pop("frame_header")
    tensors = header.pop("tensors", [])
    captured = facts.pop("captured")
    rows = {
        **{name: facts[name] for name in ("frame", "journal", "size_bytes", "tries", "sends", "died")},
        "error": f"{facts['error_kind']}: {facts['error']}",
        "captured": f"{_time(captured['wall_us'])} by this host's clock, which is {captured['source']}",
        **header,
        **{
            f"tensor {tensor['name']}": f"{tensor['shape']} as {tensor['codec']}, {tensor['bytes']} bytes"
            for tensor in tensors
        },
    }
    for name, value in rows.items():
        table.add_row(escape(printable(name)), escape(printable(str(value))))
    console.print(table)


def _time(unix_us: int) -> str:
    """UTC, to the second."""
    return datetime.fromtimestamp(unix_us // 1_000_000, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
