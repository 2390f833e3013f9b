"""Whether there is anything to read in a picture: cheap enough for a device, and never wrong about text by design.

Text is strokes: light and dark within a few pixels. A picture is cut into cells of 16×16 pixels; a cell is busy if
its lightest and darkest 2×2 mean differ by at least `BUSY_CONTRAST` of 255 levels. A picture with fewer than
`MIN_BUSY_CELLS` busy cells is empty. Counting cells, not their share, keeps one small word in a large photo; the
2×2 means keep the noise of a sensor out. docs/pipelines.md has the figures that the two numbers were chosen from.

Needs numpy, and Pillow to open files.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from tercet.steps.images import Picture, decode

BUSY_CONTRAST = 32
MIN_BUSY_CELLS = 2
_MEANS_PER_SIDE = 8


class FrameContent(TypedDict):
    """What a look at a picture found."""

    empty: bool
    busy_cells: int


def look_at_file(photo: bytes) -> FrameContent:
    """`look` at the picture in a file: the device's step. InputError if it is no picture."""
    return look(decode(photo))


def look(picture: Picture) -> FrameContent:
    """How many cells of the picture hold strokes or edges, and whether they are too few for any text."""
    busy = count_busy_cells(picture)
    return {"empty": busy < MIN_BUSY_CELLS, "busy_cells": busy}


def count_busy_cells(picture: Picture) -> int:
    """Cells of 16×16 pixels whose contrast is at least `BUSY_CONTRAST`; parts of cells at the edges count too."""
    lightness = picture.astype(np.uint16) @ np.array([77, 150, 29], np.uint16) >> 8
    rows, columns = lightness.shape
    lightness = np.pad(lightness, ((0, rows % 2), (0, columns % 2)), mode="edge")
    means = (lightness[::2, ::2] + lightness[1::2, ::2] + lightness[::2, 1::2] + lightness[1::2, 1::2]) >> 2
    short = [-side % _MEANS_PER_SIDE for side in means.shape]
    means = np.pad(means, ((0, short[0]), (0, short[1])), mode="edge")
    cells = means.reshape(means.shape[0] // _MEANS_PER_SIDE, _MEANS_PER_SIDE, -1, _MEANS_PER_SIDE)
    contrast = cells.max(axis=(1, 3)) - cells.min(axis=(1, 3))
    return int((contrast >= BUSY_CONTRAST).sum())
