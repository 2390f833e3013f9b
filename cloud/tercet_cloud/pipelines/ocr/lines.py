"""Lines of text cut out of the page, and turned so that they can be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tercet.codecs.codec import Float32Array
from tercet.steps.images import Pixels
from tercet_cloud.pipelines.ocr.opencv import cv2
from tercet_cloud.pipelines.ocr.text_boxes import Corners

# So much higher than wide, a line is taken to run from the bottom to the top.
_STANDING = 1.5
# The network must be so sure before a line is turned round.
TURN_THRESHOLD = 0.9
_TURNED = 1


def cut_lines(page: Pixels, boxes: Sequence[Corners]) -> list[Pixels]:
    """Each box as an upright picture of its own, (rows, columns, 3) uint8; standing ones laid on their side."""
    return [_cut(page, box) for box in boxes]


def turn_upright(lines: Sequence[Pixels], scores: Sequence[Float32Array]) -> list[Pixels]:
    """Lines that stand on their head turned by 180°.

    Args:
        scores: for each line (1, 2): that it is upright, that it is turned.
    """
    return [
        np.ascontiguousarray(line[::-1, ::-1]) if _is_turned(score) else line
        for line, score in zip(lines, scores, strict=True)
    ]


def _is_turned(score: Float32Array) -> bool:
    (scores,) = score
    return bool(scores.argmax() == _TURNED and scores[_TURNED] > TURN_THRESHOLD)


def _cut(page: Pixels, box: Corners) -> Pixels:
    top, right, bottom, left = (float(np.linalg.norm(box[(n + 1) % 4] - box[n])) for n in range(4))
    width, height = int(max(top, bottom)), int(max(left, right))
    flat = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    line: Pixels = cv2.warpPerspective(
        page,
        cv2.getPerspectiveTransform(box, flat),
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.ascontiguousarray(np.rot90(line)) if height / width >= _STANDING else line
