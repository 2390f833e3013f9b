"""Whether a model that somebody brings is what its card says, and can run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tercet.documents import read_document
from tercet.errors import IntegrityError, NotFoundError, SpecError
from tercet.inference.segment_chain import open_session
from tercet.models.card import ImageInput, ModelCard
from tercet.models.store import sha256_of
from tercet_cloud.models.graph import OnnxGraph

CARD_FILE = "model.yaml"


def admit_model(path: Path) -> tuple[ModelCard, bytes]:
    """The card and the ONNX file at `path`, checked against each other.

    Args:
        path: an ONNX file with model.yaml beside it, or the folder of both.
    Raises:
        NotFoundError: a file is missing.
        IntegrityError: the file is not the one the card was made for.
        SpecError: a bad card or model, or one that says something else than the other.
    """
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder")
    if not (folder / CARD_FILE).is_file():
        raise NotFoundError(f"{folder} has no {CARD_FILE}: put the model's card beside the ONNX file")
    card = read_document(ModelCard, folder / CARD_FILE)
    onnx_path = folder / card.onnx.file if path in (folder, folder / CARD_FILE) else path
    try:
        onnx_bytes = onnx_path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"cannot read {onnx_path}, which {folder / CARD_FILE} names: {error.strerror}"
        ) from error
    check_model(card, onnx_bytes)
    return card, onnx_bytes


def check_model(card: ModelCard, onnx_bytes: bytes) -> None:
    """Raise IntegrityError or SpecError unless the model is valid, is the card's, and loads."""
    if (found := sha256_of(onnx_bytes)) != card.onnx.sha256 or len(onnx_bytes) != card.onnx.size_bytes:
        raise IntegrityError(
            f"the card of {card.name} is for another file (sha256 {card.onnx.sha256[:12]}…, "
            f"{card.onnx.size_bytes} bytes) than this one ({found}, {len(onnx_bytes)} bytes): "
            "correct onnx.sha256 and onnx.size_bytes if the file is the right one"
        )
    graph = OnnxGraph(onnx_bytes)
    try:
        onnx.checker.check_model(onnx_bytes)
    except onnx.checker.ValidationError as error:
        raise SpecError(f"{card.name} is not valid ONNX: {str(error).splitlines()[0]}") from error
    for name in (*graph.inputs, *graph.outputs):
        graph.types.spec(name)
    _check_input(card, graph)
    _check_output(card, graph)
    session = open_session(onnx_bytes, 1, ["CPUExecutionProvider"])
    if isinstance(card.input, ImageInput):
        _check_blank_image(card, card.input, session)


def _check_blank_image(card: ModelCard, spec: ImageInput, session: Any) -> None:
    """What types alone don't tell: whether it runs, and how many scores it gives."""
    blank = np.zeros((1, 3, spec.size, spec.size), np.float32)
    try:
        (found,) = session.run([card.output], {spec.tensor: blank})
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        raise SpecError(f"{card.name} fails on a blank image: {str(error).splitlines()[0]}") from error
    if card.task == "classification" and card.labels and found.size != len(card.labels):
        raise SpecError(
            f"{card.name} gives {found.size} scores for an image, but its card has {len(card.labels)} labels"
        )


def _check_input(card: ModelCard, graph: OnnxGraph) -> None:
    if not isinstance(card.input, ImageInput):
        return
    side = card.input.size
    if graph.inputs != (card.input.tensor,):
        raise SpecError(
            f"the card of {card.name} feeds the image to {card.input.tensor!r}, "
            f"but the model's inputs are {', '.join(graph.inputs) or 'none'}"
        )
    spec = graph.types.spec(card.input.tensor)
    expected = (1, 3, side, side)
    fits = len(spec.shape) == 4 and all(
        size in (None, wanted) for size, wanted in zip(spec.shape, expected, strict=True)
    )
    if spec.dtype != "float32" or not fits:
        raise SpecError(
            f"the card of {card.name} gives {card.input.tensor!r} float32 1×3×{side}×{side}, "
            f"but the model takes {spec.dtype} {_shape_text(spec.shape)}"
        )


def _check_output(card: ModelCard, graph: OnnxGraph) -> None:
    if card.output not in graph.outputs:
        raise SpecError(
            f"the card of {card.name} names output {card.output!r}, but the model gives {', '.join(graph.outputs)}"
        )
    if card.task != "classification" or card.labels is None:
        return
    spec = graph.types.spec(card.output)
    sizes = [size for size in spec.shape if size not in (None, 1)]
    if not spec.dtype.startswith("float") or len(sizes) > 1 or (sizes and sizes[0] != len(card.labels)):
        raise SpecError(
            f"the card of {card.name} has {len(card.labels)} labels, but {card.output!r} is {spec.dtype} "
            f"{_shape_text(spec.shape)}: one score for every label is needed"
        )


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return "×".join("?" if size is None else str(size) for size in shape) or "scalar"
