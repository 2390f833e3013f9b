"""A photo as the text detector wants it: not too large, not too small, not too flat; and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tercet.codecs.codec import Float32Array
from tercet.errors import InputError
from tercet.steps.images import Pixels
from tercet_cloud.pipelines.ocr.opencv import cv2

MIN_SIDE, MAX_SIDE = 30, 2000
# A strip flatter than this, or no higher than MIN_SIDE, gets black bands above and below.
_FLATTEST = 8
_STEP = 32


@dataclass(frozen=True)
class Page:
    """A photo made fit.

    Attributes:
        pixels: (rows, columns, 3) uint8, RGB.
        scale_x, scale_y: pixels of the photo for one of the page.
        band: rows of black above the photo (and as many below).
        photo_size: width and height of the photo.
    """

    pixels: Pixels
    scale_x: float
    scale_y: float
    band: int
    photo_size: tuple[int, int]

    def in_photo(self, boxes: Float32Array) -> Float32Array:
        """Corners on the page, (…, 2) as x, y, as corners in the photo."""
        moved = (boxes - np.array([0, self.band], np.float32)) * np.array([self.scale_x, self.scale_y], np.float32)
        return np.clip(moved, 0, np.array(self.photo_size, np.float32)).astype(np.float32)


def fit_page(photo: Pixels) -> Page:
    """The photo with a longer side of at most 2000 pixels and a shorter of at least 30, and not flatter than 1:8.

    Resized sides are multiples of 32.

    Raises:
        InputError: a photo without pixels, or so narrow that both bounds cannot hold.
    """
    rows, columns = photo.shape[:2]
    if not rows or not columns:
        raise InputError(f"a photo of {columns}×{rows} has no pixels")
    if max(rows, columns) * MIN_SIDE > min(rows, columns) * MAX_SIDE:
        most = MAX_SIDE // MIN_SIDE
        raise InputError(
            f"a photo of {columns}×{rows} is too narrow to read: a side is at most {most} times the other"
        )
    pixels = photo
    if max(rows, columns) > MAX_SIDE:
        pixels = _scaled(photo, MAX_SIDE / max(rows, columns))
    if min(pixels.shape[:2]) < MIN_SIDE:
        pixels = _scaled(pixels, MIN_SIDE / min(pixels.shape[:2]))
    scale_y, scale_x = rows / pixels.shape[0], columns / pixels.shape[1]
    band = _band_rows(*pixels.shape[:2])
    if band:
        pixels = cv2.copyMakeBorder(pixels, band, band, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return Page(pixels, scale_x, scale_y, band, (columns, rows))


def _scaled(picture: Pixels, scale: float) -> Pixels:
    rows, columns = (_in_steps(int(side * scale)) for side in picture.shape[:2])
    scaled: Pixels = cv2.resize(picture, (columns, rows))
    return scaled


def _in_steps(side: int) -> int:
    return max(round(side / _STEP), 1) * _STEP


def _band_rows(rows: int, columns: int) -> int:
    if rows > MIN_SIDE and columns / rows <= _FLATTEST:
        return 0
    return abs(2 * max(columns // _FLATTEST, MIN_SIDE) - rows) // 2
