"""From the detector's map of probabilities to boxes around lines of text, in reading order.

Every blob of likely pixels becomes the smallest rectangle around it, at any angle; those whose mean probability is
too small go; the others grow, for the network was trained to mark only the core of a line.

Source: Liao et al. 2020, Real-time Scene Text Detection with Differentiable Binarization, arXiv:1911.08947, §3.6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Float32Array
from tercet_cloud.pipelines.ocr.opencv import cv2, pyclipper

# A pixel of text, a box of text, and how far a box grows: this times its area over its perimeter.
PIXEL_THRESHOLD, BOX_THRESHOLD, GROWTH = 0.3, 0.5, 1.6
MAX_BOXES = 1000
_SMALLEST_CORE, _SMALLEST_BOX, _SMALLEST_SIDE = 3, 5, 3
# Boxes whose upper edges differ by less than this stand on one line.
_SAME_LINE_PX = 10

Corners = Float32Array


def find_boxes(probabilities: Float32Array, page_size: tuple[int, int]) -> list[Corners]:
    """Boxes in the order in which people read: from the top, and along each line from the left.

    Args:
        probabilities: (rows, columns) float32, 0 to 1, of a page of any scale.
        page_size: width and height of the page in pixels.
    Returns:
        for each box its corners, (4, 2) float32 as x, y in whole pixels of the page, clockwise from the top left.
    """
    blobs = cv2.dilate((probabilities > PIXEL_THRESHOLD).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(blobs * 255, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [_box(probabilities, contour, page_size) for contour in contours[:MAX_BOXES]]
    return reading_order([box for box in boxes if box is not None])


def reading_order(boxes: Sequence[Corners]) -> list[Corners]:
    """Sorted by their upper left corners: lines from the top, boxes of one line from the left."""
    by_top = sorted(boxes, key=lambda box: float(box[0, 1]))
    lines: list[list[Corners]] = []
    for box in by_top:
        if lines and box[0, 1] - lines[-1][-1][0, 1] < _SAME_LINE_PX:
            lines[-1].append(box)
        else:
            lines.append([box])
    return [box for line in lines for box in sorted(line, key=lambda box: float(box[0, 0]))]


def _box(probabilities: Float32Array, contour: npt.NDArray[np.int32], page_size: tuple[int, int]) -> Corners | None:
    """None for blobs that are too small or too unlikely."""
    core, shorter = _smallest_rectangle(contour)
    if shorter < _SMALLEST_CORE or _mean_within(probabilities, core) < BOX_THRESHOLD:
        return None
    outline = _grown(core)
    if outline is None:
        return None
    corners, shorter = _smallest_rectangle(outline)
    if shorter < _SMALLEST_BOX:
        return None
    rows, columns = probabilities.shape
    for axis, (cells, pixels) in enumerate(zip((columns, rows), page_size, strict=True)):
        # In single precision and this order, so that halves round as they always have.
        placed = np.clip(np.round(corners[:, axis] / cells * pixels), 0, pixels)
        corners[:, axis] = placed
    corners = np.clip(_ordered(corners), 0, np.array(page_size, np.float32) - 1).astype(np.float32)
    width, height = (int(np.linalg.norm(corners[0] - corners[other])) for other in (1, 3))
    return corners if min(width, height) > _SMALLEST_SIDE else None


def _smallest_rectangle(points: npt.NDArray[np.int32]) -> tuple[Corners, float]:
    """The corners of the smallest rectangle around points, and its shorter side."""
    rectangle = cv2.minAreaRect(points)
    return _ordered(np.asarray(cv2.boxPoints(rectangle), np.float32)), float(min(rectangle[1]))


def _ordered(points: Corners) -> Corners:
    """Four points clockwise from the top left: of the two on the left the upper one comes first."""
    by_x = points[np.argsort(points[:, 0], kind="stable")]
    top_left, bottom_left = by_x[:2][np.argsort(by_x[:2, 1], kind="stable")]
    top_right, bottom_right = by_x[2:][np.argsort(by_x[2:, 1], kind="stable")]
    return np.stack([top_left, top_right, bottom_right, bottom_left])


def _mean_within(probabilities: Float32Array, corners: Corners) -> float:
    rows, columns = probabilities.shape
    limits = np.array([columns - 1, rows - 1])
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, limits)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, limits)
    inside = np.zeros((high - low + 1)[::-1], np.uint8)
    cv2.fillPoly(inside, [(corners - low.astype(np.float32)).astype(np.int32)], 1)
    part = probabilities[low[1] : high[1] + 1, low[0] : high[0] + 1]
    return float(cv2.mean(part, inside)[0])


def _grown(corners: Corners) -> npt.NDArray[np.int32] | None:
    """The outline moved outwards on all sides, in whole cells; None where nothing is left of it."""
    following = np.roll(corners, -1, axis=0).astype(float)
    here = corners.astype(float)
    area = abs(float((here[:, 0] * following[:, 1] - following[:, 0] * here[:, 1]).sum())) / 2
    perimeter = float(np.linalg.norm(following - here, axis=1).sum())
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(corners.tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    outlines = offset.Execute(area * GROWTH / perimeter)
    if not outlines:
        return None
    return np.array(max(outlines, key=len), np.int32)
