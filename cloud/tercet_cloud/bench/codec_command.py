"""`tercet bench codec`: options to photos, boundaries and menu; the report to screen and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tercet.errors import SpecError
from tercet.models.card import ImageInput, ModelCard
from tercet.models.store import Store
from tercet_cloud.bench.codec_plot import render_plot
from tercet_cloud.bench.codec_rate import RateBench, default_boundaries, measure_rates
from tercet_cloud.bench.codec_table import print_rates
from tercet_cloud.bench.publishing import publish
from tercet_cloud.measurement.codec_menu import DEFAULT_MENU
from tercet_cloud.measurement.labelled_photos import (
    CROPS_PER_PHOTO,
    PhotoSet,
    demo_photos,
    folder_photos,
    labelled_photos,
)
from tercet_cloud.models.boundaries import block_ends
from tercet_cloud.models.commands import parse_cut
from tercet_cloud.models.graph import OnnxGraph

CALIBRATION_CROPS_PER_PHOTO = 24
EVALUATION_CROPS_PER_PHOTO = 20
# Without --photos: the demo's first photos calibrate, the others are evaluated on.
_CALIBRATING, _EVALUATING = slice(0, 4), slice(4, None)


@dataclass(frozen=True)
class CodecOptions:
    """The command's options; see `tercet bench codec --help`."""

    model: str
    boundaries: tuple[str, ...]
    all_ends: bool
    codecs: tuple[str, ...]
    photos: Path | None
    calibration: Path | None
    crops: int
    as_json: bool
    out: Path
    store: Path


def bench_codec(options: CodecOptions) -> None:
    """Measure, print, and write codec.json and codec.svg. Raises what `measure_rates` does, before measuring."""
    store = Store(options.store)
    card = store.card(options.model)
    evaluation, calibration = choose_photos(card, options.photos, options.calibration, options.crops)
    bench = RateBench(
        store, card, evaluation, calibration, _boundaries(options, store, card), options.codecs or DEFAULT_MENU
    )
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("codecs × boundaries", total=None)
        report = measure_rates(
            bench, _command(options), lambda done, total: bar.update(task, completed=done, total=total)
        )

    def show(console: Console) -> None:
        print_rates(report, console)
        console.print(f"Written to {options.out}", style="dim", soft_wrap=True)

    publish(report.as_dict(), options.out / "codec.json", show, as_json=options.as_json)
    (options.out / "codec.svg").write_text(render_plot(report), encoding="utf-8")


def choose_photos(
    card: ModelCard, photos: Path | None, calibration: Path | None, crops: int
) -> tuple[PhotoSet, PhotoSet]:
    """What to evaluate on and what to calibrate on: never the same photos, if the folders don't share any."""
    if not isinstance(card.input, ImageInput):
        raise SpecError(f"model {card.name} takes no photos: there is nothing to bench its codecs with")
    if photos is None:
        evaluated = demo_photos(card.input, EVALUATION_CROPS_PER_PHOTO, part=_EVALUATING)
    elif card.task == "classification":
        evaluated = labelled_photos(photos, card.input, len(card.labels or ()), crops)
    else:
        evaluated = folder_photos(photos, card.input, crops)
    if calibration is not None:
        return evaluated, folder_photos(calibration, card.input)
    part = slice(None) if photos is not None else _CALIBRATING
    return evaluated, demo_photos(card.input, CALIBRATION_CROPS_PER_PHOTO, part=part)


def _boundaries(options: CodecOptions, store: Store, card: ModelCard) -> tuple[tuple[str, ...], ...]:
    if options.boundaries and options.all_ends:
        raise SpecError("give --boundary or --all, not both")
    if options.boundaries:
        return tuple(tuple(parse_cut(text)) for text in options.boundaries)
    graph = OnnxGraph(store.model_bytes(card))
    found = tuple((name,) for name in block_ends(graph)) if options.all_ends else default_boundaries(graph)
    if not found:
        raise SpecError(f"model {card.name} has no such boundary by itself: name some with --boundary")
    return found


def _command(options: CodecOptions) -> str:
    """How to measure the same again; folders by their last name, for they differ between machines."""
    parts = ["tercet bench codec", options.model]
    parts += [f"--boundary {name}" for name in options.boundaries]
    parts += ["--all"] if options.all_ends else []
    parts += [f"--codec {name}" for name in options.codecs]
    parts += [f"--photos {options.photos.name}"] if options.photos else []
    parts += [f"--crops {options.crops}"] if options.photos and options.crops != CROPS_PER_PHOTO else []
    parts += [f"--calibration {options.calibration.name}"] if options.calibration else []
    return " ".join(parts)
