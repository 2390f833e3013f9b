"""The steps of `pipelines/ocr.yaml` that run on an edge or in the cloud; the device's is in `frame_content`.

Between them stand model nodes, whose tensors are called `x` and whose answers are mappings of tensors. What passes
from the edge to the cloud are the lines as pictures, a quarter of the bytes of their tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, TypedDict

import numpy as np

from tercet.codecs.codec import Array, Float32Array
from tercet.errors import NotFoundError, TensorContractError
from tercet.models.store import DEFAULT_STORE, Store
from tercet.steps.images import Picture, Pixels, decode
from tercet_cloud.models.packaged_models import BEST_CLASS, BEST_SCORE, TEXT_RECOGNISER
from tercet_cloud.pipelines.ocr.lines import cut_lines, turn_upright
from tercet_cloud.pipelines.ocr.network_inputs import (
    line_tensor,
    orientation_tensor,
    page_tensor,
    recogniser_widths,
)
from tercet_cloud.pipelines.ocr.page import Page, fit_page
from tercet_cloud.pipelines.ocr.text_boxes import find_boxes
from tercet_cloud.pipelines.ocr.transcript import TextLine, spell, transcript

Pictures = Annotated[list[Pixels], "list[image]"]
Answer = Mapping[str, Array]


class PageStep(TypedDict):
    """A photo made fit: its pixels, the detector's tensor, and the way back to the photo."""

    pixels: Picture
    tensor: Annotated[Float32Array, "tensor[float32, 1, 3, _, _]"]
    scale_x: float
    scale_y: float
    band: int
    photo_size: list[int]


class LinesStep(TypedDict):
    """Lines in reading order: pictures, tensors for the orientation network, corners in the photo."""

    pictures: Pictures
    tensors: Annotated[list[Float32Array], "list[tensor[float32, 1, 3, 48, 192]]"]
    corners: Annotated[list[Float32Array], "list[tensor[float32, 4, 2]]"]


class TranscriptStep(TypedDict):
    """The lines that say something, and their texts alone."""

    lines: list[TextLine]
    texts: list[str]


def prepare_page(photo: bytes) -> PageStep:
    """The page in a photo's file. InputError if it is no picture."""
    page = fit_page(decode(photo))
    return {
        "pixels": page.pixels,
        "tensor": page_tensor(page.pixels),
        "scale_x": page.scale_x,
        "scale_y": page.scale_y,
        "band": page.band,
        "photo_size": list(page.photo_size),
    }


def find_lines(page: PageStep, answer: Answer) -> LinesStep:
    """The lines of text on a page, cut out.

    Args:
        answer: the detector's, one map of probabilities (1, 1, rows, columns).
    """
    rows, columns = page["pixels"].shape[:2]
    width, height = page["photo_size"]
    photo_page = Page(page["pixels"], page["scale_x"], page["scale_y"], page["band"], (width, height))
    text_map = _only(answer, "the text detector")
    if text_map.ndim != 4 or text_map.shape[:2] != (1, 1):
        raise TensorContractError(f"the text detector gave {text_map.shape}, not one map of probabilities")
    boxes = find_boxes(np.asarray(text_map[0, 0], np.float32), (columns, rows))
    pictures = cut_lines(page["pixels"], boxes)
    return {
        "pictures": pictures,
        "tensors": [orientation_tensor(line) for line in pictures],
        "corners": [photo_page.in_photo(box) for box in boxes],
    }


def turn_lines(pictures: Pictures, answers: list[dict[str, Array]]) -> Pictures:
    """The lines, those upside down turned round; one answer of the orientation network for each."""
    scores = [np.asarray(_only(answer, "the orientation network"), np.float32) for answer in answers]
    return turn_upright(pictures, scores)


def line_tensors(pictures: Pictures) -> Annotated[list[Float32Array], "list[tensor[float32, 1, 3, 48, _]]"]:
    """One tensor a line for the recogniser, in order."""
    widths = recogniser_widths(pictures)
    return [line_tensor(line, width) for line, width in zip(pictures, widths, strict=True)]


def write_transcript(
    answers: list[dict[str, Array]],
    corners: Annotated[list[Float32Array], "list[tensor[float32, 4, 2]]"],
    store: str = str(DEFAULT_STORE),
) -> TranscriptStep:
    """The text of every line.

    Args:
        answers: the recogniser's, for each line (1, places) best classes and their scores.
        store: where the recogniser's card lies, which has its alphabet.
    """
    alphabet = _alphabet(store)
    spelled = [spell(answer[BEST_CLASS][0], answer[BEST_SCORE][0], alphabet) for answer in answers]
    lines = transcript(spelled, corners)
    return {"lines": lines, "texts": [line["text"] for line in lines]}


def _only(answer: Answer, what: str) -> Array:
    if len(answer) != 1:
        raise TensorContractError(f"{what} gives one tensor, not {', '.join(answer) or 'none'}")
    return next(iter(answer.values()))


@lru_cache(maxsize=4)
def _alphabet(store: str) -> tuple[str, ...]:
    labels = Store(Path(store)).card(TEXT_RECOGNISER).labels
    if labels is None:
        raise NotFoundError(f"the card of {TEXT_RECOGNISER} has no labels: fetch the model again")
    return labels
