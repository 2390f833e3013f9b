"""The three networks of a store, each with what goes before and after it: find lines, turn them, name characters.

One thread a run: where many frames are under way, that is the quickest. All are safe to call from threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from tercet.codecs.codec import Array, Float32Array
from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet.steps.images import Pixels
from tercet_cloud.models.packaged_models import (
    BEST_CLASS,
    BEST_SCORE,
    LINE_ORIENTATION,
    TEXT_DETECTOR,
    TEXT_RECOGNISER,
)
from tercet_cloud.pipelines.ocr.lines import cut_lines, turn_upright
from tercet_cloud.pipelines.ocr.network_inputs import (
    GROUP_LINES,
    line_tensor,
    orientation_tensor,
    page_tensor,
    recogniser_widths,
)
from tercet_cloud.pipelines.ocr.page import fit_page
from tercet_cloud.pipelines.ocr.text_boxes import find_boxes
from tercet_cloud.pipelines.ocr.transcript import spell

INPUT = "x"


class FoundLines(TypedDict):
    """Lines of text in reading order: cut out as pictures, and where they lie in the photo."""

    pictures: list[Pixels]
    corners: list[Float32Array]


class LineFinder:
    """The text detector. NotFoundError if the store lacks it."""

    def __init__(self, store: Store) -> None:
        self._network = _Network(store, TEXT_DETECTOR)

    def find(self, photo: Pixels) -> FoundLines:
        """The lines of text in a photo, (rows, columns, 3) uint8 RGB."""
        page = fit_page(photo)
        rows, columns = page.pixels.shape[:2]
        text_map = self._network.answer(page_tensor(page.pixels))
        boxes = find_boxes(np.asarray(text_map[0, 0], np.float32), (columns, rows))
        return {
            "pictures": cut_lines(page.pixels, boxes),
            "corners": [page.in_photo(box) for box in boxes],
        }


class LineTurner:
    """The orientation network. NotFoundError if the store lacks it."""

    def __init__(self, store: Store) -> None:
        self._network = _Network(store, LINE_ORIENTATION)

    def turn(self, lines: Sequence[Pixels]) -> list[Pixels]:
        """The lines, those upside down turned round."""
        scores = [np.asarray(self._network.answer(orientation_tensor(line)), np.float32) for line in lines]
        return turn_upright(lines, scores)


class LineSpeller:
    """The recogniser. NotFoundError if the store lacks it."""

    def __init__(self, store: Store) -> None:
        card = store.card(TEXT_RECOGNISER)
        self._model = WholeModel(store.model_bytes(card))
        self._alphabet = card.labels or ()

    def spell(self, lines: Sequence[Pixels]) -> list[tuple[str, float]]:
        """The text of each line and its score. Lines of one width share a run, six at most."""
        by_width: dict[int, list[int]] = {}
        for index, width in enumerate(recogniser_widths(lines)):
            by_width.setdefault(width, []).append(index)
        spelled: dict[int, tuple[str, float]] = {}
        for width, indices in by_width.items():
            for start in range(0, len(indices), GROUP_LINES):
                group = indices[start : start + GROUP_LINES]
                answer = self._model.run({INPUT: np.concatenate([line_tensor(lines[i], width) for i in group])})
                for index, classes, scores in zip(group, answer[BEST_CLASS], answer[BEST_SCORE], strict=True):
                    spelled[index] = spell(classes, scores, self._alphabet)
        return [spelled[index] for index in range(len(lines))]


class _Network:
    def __init__(self, store: Store, name: str) -> None:
        card = store.card(name)
        self._model, self._output = WholeModel(store.model_bytes(card)), card.output

    def answer(self, tensor: Float32Array) -> Array:
        return self._model.run({INPUT: tensor})[self._output]
