"""`tercet bench delta`: what temporal delta saves on a camera that stands still, and on one that turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tercet.codecs import CodecContext, calibrate
from tercet.errors import SpecError
from tercet.inference.quantise_kernel import static_kernel
from tercet.inference.segment_chain import SegmentChain
from tercet.models.card import ImageInput
from tercet.models.photos import preprocess, read_photo
from tercet.models.store import Store
from tercet_cloud.bench.delta_rate import StreamRate, Tensors, measure_stream
from tercet_cloud.bench.lite0_cut import CUTS, MODEL, stored_model
from tercet_cloud.bench.publishing import publish
from tercet_cloud.bench.sequences import panning_sequence, static_sequence
from tercet_cloud.measurement.sample_photos import read_photos
from tercet_cloud.models.slicing import slice_into_store

KEY_EVERY = 30
# Each is measured plain, as a delta, and as a delta that holds small moves.
FORMAT = "int4:static@{digest}+zstd:3"
HOLDS = ("", ":hold0.25", ":hold0.5")
CALIBRATION = "percentile:99.9"


@dataclass(frozen=True)
class DeltaOptions:
    """The command's options; see `tercet bench delta --help`."""

    frames: int
    photos: Path | None
    as_json: bool
    out: Path
    store: Path


@dataclass(frozen=True)
class DeltaRow:
    """One codec at one boundary over one kind of sequence: means over all photos."""

    sequence: str
    boundary: str
    codec: str
    bytes_per_frame: float
    times_fewer: float
    key_frames: float
    agreement: float


def bench_delta(options: DeltaOptions) -> None:
    """Measure, print, and write delta.json. Half of the photos calibrate, the others are filmed."""
    store = Store(options.store)
    card = stored_model(store)
    if not isinstance(card.input, ImageInput):
        raise SpecError(f"model {card.name} does not take photos")
    manifest = slice_into_store(store, card.name, CUTS)
    chain = SegmentChain(manifest, store)
    photos = _photos(options.photos)
    filmed, others = photos[::2], photos[1::2]
    context = CodecContext(store, kernel=static_kernel())
    digests = {}
    for boundary, (name,) in enumerate(CUTS, start=1):
        samples = [_through(chain, preprocess(photo, card.input), card.input.tensor, boundary) for photo in others]
        arrays = [sample[name].astype(np.float32) for sample in samples]
        digests[boundary] = store.add_calibration(calibrate(arrays, method=CALIBRATION, tensor=name))
    rows: list[DeltaRow] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sequences", total=len(_SEQUENCES) * len(filmed))
        for title in _SEQUENCES:
            rates: dict[tuple[int, str], list[StreamRate]] = {}
            for photo in filmed:
                pictures = [preprocess(picture, card.input) for picture in _film(title, photo, options.frames)]
                _measure(chain, card.input.tensor, card.output, pictures, digests, context, rates)
                progress.advance(task)
            rows.extend(_rows(title, rates))
    report = {
        "command": f"tercet bench delta --frames {options.frames}",
        "model": MODEL,
        "setting": f"{len(filmed)} photos filmed for {options.frames} frames each, {len(others)} others calibrate "
        f"({CALIBRATION}); every frame is answered before the next; key frames every {KEY_EVERY}",
        "rows": [asdict(row) for row in rows],
    }
    publish(
        report,
        options.out / "delta.json",
        lambda console: _print(rows, str(report["setting"]), console),
        as_json=options.as_json,
    )


# Title to pixels a frame and noise in levels of 255.
_SEQUENCES = {
    "still, no noise": (0, 0.0),
    "still, noise 2": (0, 2.0),
    "pan 1 px, noise 1": (1, 1.0),
    "pan 4 px, noise 1": (4, 1.0),
}


def _film(title: str, photo: Image.Image, frames: int) -> Iterator[Image.Image]:
    step_px, noise_levels = _SEQUENCES[title]
    if step_px == 0:
        return static_sequence(photo, frames, noise_levels=noise_levels)
    return panning_sequence(photo, frames, step_px, noise_levels=noise_levels)


def _photos(folder: Path | None) -> list[Image.Image]:
    if folder is None:
        return list(read_photos().values())
    return [read_photo(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".png")]


def _through(chain: SegmentChain, picture: np.ndarray, name: str, boundary: int) -> Tensors:
    return chain.run({name: picture}, 0, boundary)


def _measure(
    chain: SegmentChain,
    name: str,
    output: str,
    pictures: Sequence[np.ndarray],
    digests: dict[int, str],
    context: CodecContext,
    rates: dict[tuple[int, str], list[StreamRate]],
) -> None:
    """Every codec at every boundary over one sequence, into `rates` by boundary and kind of delta."""
    last = len(chain.manifest.segments)
    sequence: list[Tensors] = [{name: picture} for picture in pictures]
    labels = [int(np.argmax(chain.run(tensors, 0, last)[output])) for tensors in sequence]
    for boundary, digest in digests.items():
        sequence = [chain.run(tensors, boundary - 1, boundary) for tensors in sequence]
        plain = FORMAT.format(digest=digest)
        codecs = {"plain": plain} | {f"delta{hold}": f"delta:{KEY_EVERY}{hold}+{plain}" for hold in HOLDS}
        for kind, codec in codecs.items():
            rate = measure_stream(chain, boundary, sequence, labels, output, codec, context)
            rates.setdefault((boundary, kind), []).append(rate)


def _rows(title: str, rates: dict[tuple[int, str], list[StreamRate]]) -> Iterator[DeltaRow]:
    for (boundary, kind), found in rates.items():
        own, plain = (
            float(np.mean([rate.bytes_per_frame for rate in rates[boundary, which]])) for which in (kind, "plain")
        )
        yield DeltaRow(
            sequence=title,
            boundary="+".join(CUTS[boundary - 1]),
            codec=kind,
            bytes_per_frame=round(own, 1),
            times_fewer=round(plain / own, 2),
            key_frames=float(np.mean([rate.key_frames for rate in found])),
            agreement=round(float(np.mean([rate.agreement for rate in found])), 4),
        )


def _print(rows: Sequence[DeltaRow], setting: str, console: Console) -> None:
    table = Table(title=f"{MODEL}, int4 static + zstd:3 with and without temporal delta", title_justify="left")
    for heading in ("sequence", "boundary", "codec"):
        table.add_column(heading, no_wrap=True)
    for heading in ("bytes/frame", "× fewer", "agreement"):
        table.add_column(heading, justify="right")
    before: tuple[str, str] | None = None
    for row in rows:
        if before is not None and (row.sequence, row.boundary) != before:
            table.add_section()
        before = (row.sequence, row.boundary)
        table.add_row(
            row.sequence,
            row.boundary,
            row.codec,
            f"{row.bytes_per_frame:,.0f}",
            f"{row.times_fewer:.2f}",
            f"{row.agreement:.3f}",
        )
    console.print(table)
    console.print(f"{setting}.", soft_wrap=True)
