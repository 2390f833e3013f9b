"""The whole chain in one process: photo in, lines of text out. The pipeline's reference, and a tool of its own."""

from __future__ import annotations

from tercet.models.store import Store
from tercet.steps.images import Pixels
from tercet_cloud.pipelines.ocr.networks import LineFinder, LineSpeller, LineTurner
from tercet_cloud.pipelines.ocr.transcript import TextLine, transcript


class TextReader:
    """Reads text with the three networks of a store. NotFoundError if one is not there."""

    def __init__(self, store: Store) -> None:
        self._finder, self._turner, self._speller = LineFinder(store), LineTurner(store), LineSpeller(store)

    def read(self, photo: Pixels) -> list[TextLine]:
        """The lines of text in a photo, (rows, columns, 3) uint8 RGB, in reading order."""
        found = self._finder.find(photo)
        upright = self._turner.turn(found["pictures"])
        return transcript(self._speller.spell(upright), found["corners"])
