"""Smaller variants of a model for small machines: 8-bit arithmetic, and a smaller picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tercet.errors import SpecError
from tercet.identifiers import check_name
from tercet.inference.int8_model import quantise_model
from tercet.inference.whole_model import WholeModel
from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.store import Store, sha256_of
from tercet_cloud.measurement.agreement import metric_for
from tercet_cloud.measurement.sample_frames import FrameSource, sample_frames
from tercet_cloud.measurement.split_runner import Frame
from tercet_cloud.models.admission import check_model
from tercet_cloud.models.catalog import CATALOG
from tercet_cloud.models.graph import OnnxGraph


@dataclass(frozen=True)
class Variant:
    """What was made, and how alike it is to the model of the same input size in full precision.

    `agreement` 0…1 by `metric`, on `frames` other ones than those that the ranges were found with; `warnings` are
    about both.
    """

    card: ModelCard
    agreement: float
    metric: str
    frames: int
    warnings: tuple[str, ...]


def make_int8(store: Store, name: str, out_name: str, size: int | None, source: FrameSource) -> Variant:
    """Quantise a model of the store into another one of it.

    Args:
        size: side of the picture in pixels; None: the model's own.
        source: frames to find the ranges of activations with, and to compare on.
    Raises:
        SpecError: a model that cannot be had at that size, or cannot be quantised, or the name is taken by `name`.
    """
    if check_name(out_name, "model") == name:
        raise SpecError(f"--out-name {out_name}: choose another name than the model's own")
    card, onnx_bytes = _sized(store, store.card(name), size)
    samples = sample_frames(card, OnnxGraph(onnx_bytes), source)
    # Ranges need more and more varied frames than other calibrations: every second of those to compare on as well.
    ranging = (*samples.calibration.frames, *samples.evaluation.frames[::2])
    judging = samples.evaluation.frames[1::2] or samples.evaluation.frames
    quantised = quantise_model(onnx_bytes, ranging)
    variant = card.model_copy(
        update={
            "name": out_name,
            "description": f"{card.description}, int8".removeprefix(", "),
            "source": f"{name}, quantised with {len(ranging)} frames; {card.source}".removesuffix("; "),
            "onnx": OnnxFile(sha256=sha256_of(quantised), size_bytes=len(quantised)),
        }
    )
    check_model(variant, quantised)
    references = _outputs(onnx_bytes, card, judging)
    metric = metric_for(card, references)
    found = _outputs(quantised, card, judging)
    store.add_model(variant, quantised)
    return Variant(variant, metric.over(references, found).mean, metric.name, len(judging), samples.warnings)


def _sized(store: Store, card: ModelCard, size: int | None) -> tuple[ModelCard, bytes]:
    """The model for pictures of `size`, and a card that says so."""
    spec = card.input
    if size is None:
        return card, store.model_bytes(card)
    if not isinstance(spec, ImageInput):
        raise SpecError(f"model {card.name} takes {spec.kind}s, no photos: leave out --size")
    shorter = max(size, round(spec.resize_shorter * size / spec.size))
    onnx_bytes = _exported(card, size) or store.model_bytes(card)
    sides = OnnxGraph(onnx_bytes).types.spec(spec.tensor).shape[2:]
    if any(side not in (None, size) for side in sides):
        raise SpecError(
            f"model {card.name} takes pictures of {spec.size}×{spec.size} and no others: export it with free "
            f"sides, or at {size}, and add it by `tercet models add`"
        )
    changed = spec.model_copy(update={"size": size, "resize_shorter": shorter})
    described = card.description.replace(f"{spec.size}×{spec.size}", f"{size}×{size}")
    return card.model_copy(update={"input": changed, "description": described}), onnx_bytes


def _exported(card: ModelCard, size: int) -> bytes | None:
    """A model of the catalogue made for another size; None for one of somebody's own."""
    entry = CATALOG.get(card.name)
    if entry is None:
        return None
    from tercet_cloud.models.export import export_onnx

    return export_onnx(entry.resized(size))


def _outputs(onnx_bytes: bytes, card: ModelCard, frames: Sequence[Frame]) -> list:  # type: ignore[type-arg]
    model = WholeModel(onnx_bytes)
    return [model.run(frame)[card.output] for frame in frames]
