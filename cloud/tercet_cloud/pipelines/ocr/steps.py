"""The steps of `pipelines/ocr.yaml` that run on an edge or in the cloud; the device's is in `frame_content`.

The edge's steps run their networks themselves, from the edge's store: a page's tensor of 13 MB never travels, and
neither does a line's. What passes from tier to tier are the photo's file and the lines as pictures. The cloud's
recogniser is a model node, served once for all pipelines.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, TypedDict

from tercet.codecs.codec import Array, Float32Array
from tercet.errors import NotFoundError
from tercet.models.store import Store
from tercet.steps.images import Pixels, decode
from tercet_cloud.models.packaged_models import BEST_CLASS, BEST_SCORE, TEXT_RECOGNISER
from tercet_cloud.pipelines.ocr.network_inputs import line_tensor, recogniser_widths
from tercet_cloud.pipelines.ocr.networks import LineFinder, LineTurner
from tercet_cloud.pipelines.ocr.transcript import TextLine, spell, transcript

Pictures = Annotated[list[Pixels], "list[image]"]
CornerLists = Annotated[list[Float32Array], "list[tensor[float32, 4, 2]]"]


class Found(TypedDict):
    """Lines of text in reading order: cut out as pictures, and their corners (x, y) in the photo."""

    pictures: Pictures
    corners: CornerLists


class Transcript(TypedDict):
    """The lines that say something, and their texts alone."""

    lines: list[TextLine]
    texts: list[str]


def find_lines(photo: bytes, store: str) -> Found:
    """The lines of text in a photo's file.

    Args:
        store: where the text detector lies.
    Raises:
        InputError: the file is no picture.
        NotFoundError: the detector is not in the store.
    """
    found = _finder(store).find(decode(photo))
    return {"pictures": found["pictures"], "corners": found["corners"]}


def turn_lines(pictures: Pictures, store: str) -> Pictures:
    """The lines, those upside down turned round. NotFoundError if the store lacks the orientation network."""
    return _turner(store).turn(pictures)


def line_tensors(pictures: Pictures) -> Annotated[list[Float32Array], "list[tensor[float32, 1, 3, 48, _]]"]:
    """One tensor a line for the recogniser, in order."""
    widths = recogniser_widths(pictures)
    return [line_tensor(line, width) for line, width in zip(pictures, widths, strict=True)]


def write_transcript(answers: list[dict[str, Array]], corners: CornerLists, store: str) -> Transcript:
    """The text of every line.

    Args:
        answers: the recogniser's, for each line (1, places) best classes and their scores.
        store: where the recogniser's card lies, which has its alphabet.
    """
    alphabet = _alphabet(store)
    spelled = [spell(answer[BEST_CLASS][0], answer[BEST_SCORE][0], alphabet) for answer in answers]
    lines = transcript(spelled, corners)
    return {"lines": lines, "texts": [line["text"] for line in lines]}


@lru_cache(maxsize=2)
def _finder(store: str) -> LineFinder:
    return LineFinder(Store(Path(store)))


@lru_cache(maxsize=2)
def _turner(store: str) -> LineTurner:
    return LineTurner(Store(Path(store)))


@lru_cache(maxsize=2)
def _alphabet(store: str) -> tuple[str, ...]:
    labels = Store(Path(store)).card(TEXT_RECOGNISER).labels
    if labels is None:
        raise NotFoundError(f"the card of {TEXT_RECOGNISER} has no labels: fetch the model again")
    return labels
