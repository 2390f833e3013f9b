"""Pictures as the tensors that PP-OCR's networks were trained on: BGR, channels first, values from -1 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from tercet.codecs.codec import Float32Array
from tercet.errors import InputError
from tercet.steps.images import Pixels
from tercet_cloud.pipelines.ocr.opencv import cv2

# The detector sees pages whose shorter side has at least so many pixels.
PAGE_SIDE = 736
# 200 MB as a tensor. Only pages over thirty times as high as wide would need more: the wide ones have black bands.
MAX_PAGE_PIXELS = 16 << 20
LINE_HEIGHT = 48
ORIENTATION_WIDTH = 192
# Lines are recognised in groups of so many that are about equally wide, each padded to the widest, at least 320.
GROUP_LINES, SHORTEST_LINE = 6, 320
_STEP = 32
_HALF = 0.5

# Every level's value, rounded as each network's own training code rounds: the detector's in double precision.
_PAGE_LEVELS = (((np.arange(256, dtype=np.float32) * np.float32(1 / 255)).astype(float) - _HALF) / _HALF).astype(
    np.float32
)
_LINE_LEVELS = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(_HALF)) / np.float32(_HALF)


def page_tensor(page: Pixels) -> Float32Array:
    """(1, 3, rows, columns) float32 for the text detector; both sides multiples of 32.

    InputError for a page so narrow that it would be over `MAX_PAGE_PIXELS`.
    """
    rows, columns = page.shape[:2]
    scale = max(PAGE_SIDE / min(rows, columns), 1.0)
    size = [max(round(int(side * scale) / _STEP), 1) * _STEP for side in (columns, rows)]
    if size[0] * size[1] > MAX_PAGE_PIXELS:
        raise InputError(
            f"a page of {columns}×{rows} is too narrow for the text detector: cut it into shorter ones"
        )
    return _PAGE_LEVELS[_channels_first(cv2.resize(page, size))]


def line_tensor(line: Pixels, width: int) -> Float32Array:
    """(1, 3, 48, width) float32 of a line of text: 48 pixels high, at most `width` wide, the rest 0 (grey)."""
    rows, columns = line.shape[:2]
    filled = min(ceil(LINE_HEIGHT * (columns / rows)), width)
    tensor = np.zeros((1, 3, LINE_HEIGHT, width), np.float32)
    tensor[..., :filled] = _LINE_LEVELS[_channels_first(cv2.resize(line, (filled, LINE_HEIGHT)))]
    return tensor


def orientation_tensor(line: Pixels) -> Float32Array:
    """(1, 3, 48, 192) float32 for the network that tells whether a line is upside down."""
    return line_tensor(line, ORIENTATION_WIDTH)


def recogniser_widths(lines: Sequence[Pixels]) -> list[int]:
    """The width in pixels that each line's tensor gets: that of the widest line of its group, at least 320.

    A network's answer depends a little on the padding, so the groups are part of the result: the lines ordered by
    their shape, six at a time.
    """
    shapes = np.array([line.shape[1] / line.shape[0] for line in lines])
    order = np.argsort(shapes)
    widths = [0] * len(lines)
    for start in range(0, len(order), GROUP_LINES):
        group = order[start : start + GROUP_LINES]
        width = int(LINE_HEIGHT * max(SHORTEST_LINE / LINE_HEIGHT, *shapes[group].tolist()))
        for index in group.tolist():
            widths[index] = width
    return widths


def _channels_first(picture: Pixels) -> Pixels:
    """(1, 3, rows, columns), blue first."""
    return picture[..., ::-1].transpose(2, 0, 1)[np.newaxis]
