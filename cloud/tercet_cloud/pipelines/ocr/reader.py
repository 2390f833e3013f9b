"""The whole chain in one process: photo in, lines of text out. The pipeline's reference, and a tool of its own."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from tercet.codecs.codec import Array
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
from tercet_cloud.pipelines.ocr.transcript import TextLine, spell, transcript

_INPUT = "x"


class TextReader:
    """Reads text with the three networks of a store. NotFoundError if one is not there."""

    def __init__(self, store: Store, *, threads: int = 1) -> None:
        cards = {name: store.card(name) for name in (TEXT_DETECTOR, LINE_ORIENTATION, TEXT_RECOGNISER)}
        self._outputs = {name: card.output for name, card in cards.items()}
        self._models = {name: WholeModel(store.model_bytes(card), threads=threads) for name, card in cards.items()}
        self._alphabet = cards[TEXT_RECOGNISER].labels or ()

    def read(self, photo: Pixels) -> list[TextLine]:
        """The lines of text in a photo, (rows, columns, 3) uint8 RGB, in reading order."""
        page = fit_page(photo)
        rows, columns = page.pixels.shape[:2]
        text_map = self._run(TEXT_DETECTOR, page_tensor(page.pixels))[self._outputs[TEXT_DETECTOR]]
        boxes = find_boxes(np.asarray(text_map[0, 0], np.float32), (columns, rows))
        lines = cut_lines(page.pixels, boxes)
        orientations = [
            np.asarray(self._run(LINE_ORIENTATION, orientation_tensor(line))[self._outputs[LINE_ORIENTATION]])
            for line in lines
        ]
        upright = turn_upright(lines, orientations)
        return transcript(self._spelled(upright), [page.in_photo(box) for box in boxes])

    def _spelled(self, lines: list[Pixels]) -> list[tuple[str, float]]:
        """Lines of equal width share a run."""
        widths = recogniser_widths(lines)
        spelled: dict[int, tuple[str, float]] = {}
        for width, indices in groupby(sorted(range(len(lines)), key=widths.__getitem__), key=widths.__getitem__):
            same = list(indices)
            for start in range(0, len(same), GROUP_LINES):
                group = same[start : start + GROUP_LINES]
                batch = np.concatenate([line_tensor(lines[index], width) for index in group])
                found = self._run(TEXT_RECOGNISER, batch)
                for index, classes, scores in zip(group, found[BEST_CLASS], found[BEST_SCORE], strict=True):
                    spelled[index] = spell(classes, scores, self._alphabet)
        return [spelled[index] for index in range(len(lines))]

    def _run(self, name: str, tensor: Array) -> dict[str, Array]:
        return self._models[name].run({_INPUT: tensor})
