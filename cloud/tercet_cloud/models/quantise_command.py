"""`tercet models quantise`"""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from tercet.models.store import Store
from tercet_cloud.models.with_store import with_store


@click.command()
@click.argument("name")
@click.option("--out-name", required=True, metavar="NAME", help="Name of the variant in the store.")
@click.option("--size", type=click.IntRange(8, 8192), help="Side of its picture in pixels. Default: as NAME.")
@click.option(
    "--photos",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of photos to find ranges with. Default: sample photos.",
)
@click.option(
    "--inputs",
    type=click.Path(dir_okay=False, path_type=Path),
    help="For models that take tensors: an .npz with an array for each input, the first axis counting frames.",
)
@with_store
def quantise(
    store: Store, name: str, out_name: str, size: int | None, photos: Path | None, inputs: Path | None
) -> None:
    """Make an 8-bit variant of the model NAME, for the first stage of a cascade or any small machine.

    Weights become int8, activations uint8, with ranges measured on sample frames. A model of the catalogue can be
    had for smaller pictures too. Prints how often it still says what NAME says at the same size, and the path of
    its card.

    \b
    tercet models quantise efficientnet-lite0 --size 160 --out-name lite0-int8-160
    """
    from tercet_cloud.measurement.sample_frames import FrameSource
    from tercet_cloud.models.quantising import make_int8

    with Console(stderr=True).status(f"quantising {name}"):
        made = make_int8(store, name, out_name, size, FrameSource(photos=photos, inputs=inputs))
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(
        f"{out_name}: {made.card.onnx.size_bytes:,} bytes; {made.metric} {made.agreement:.3f} beside full "
        f"precision, on {made.frames} frames",
        err=True,
    )
    click.echo(store.root / "models" / out_name / "model.yaml")
