from __future__ import annotations

import numpy as np
import pytest
from rapidocr.utils.process_img import get_rotate_crop_image

from tercet_cloud.pipelines.ocr.lines import cut_lines, turn_upright

PAGE = np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)
BOXES = [
    [(10, 10), (60, 10), (60, 30), (10, 30)],
    [(10, 12), (60, 22), (56, 40), (6, 30)],
    [(80, 5), (95, 5), (95, 80), (80, 80)],
    [(0, 0), (119, 0), (119, 89), (0, 89)],
]


@pytest.mark.parametrize("box", BOXES)
def test_a_line_is_cut_to_the_very_pixels_of_rapidocr(box: list[tuple[int, int]]) -> None:
    corners = np.array(box, np.float32)
    (line,) = cut_lines(PAGE, [corners])
    assert np.array_equal(line, get_rotate_crop_image(PAGE, corners.copy()))


def test_a_standing_line_is_laid_on_its_side() -> None:
    (line,) = cut_lines(PAGE, [np.array(BOXES[2], np.float32)])
    assert line.shape == (15, 75, 3)


def scores(upright: float) -> np.ndarray:
    return np.array([[upright, 1 - upright]], np.float32)


def test_only_lines_that_are_surely_upside_down_are_turned() -> None:
    lines = [PAGE[:20], PAGE[20:40], PAGE[40:60]]
    kept, unsure, turned = turn_upright(lines, [scores(0.8), scores(0.15), scores(0.05)])
    assert np.array_equal(kept, lines[0])
    assert np.array_equal(unsure, lines[1])
    assert np.array_equal(turned, np.rot90(lines[2], 2))
