from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rapidocr.ch_ppocr_det.main import TextDetector
from rapidocr.ch_ppocr_det.utils import DBPostProcess

from tercet.codecs.codec import Float32Array
from tercet_cloud.pipelines.ocr.text_boxes import find_boxes, reading_order


def blobs(seed: int, count: int = 25, size: tuple[int, int] = (320, 224)) -> Float32Array:
    """A map with bars at all angles, of all likelihoods, some of them touching or cut off by the edge."""
    random = np.random.default_rng(seed)
    picture = Image.new("L", size)
    draw = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y, angle = random.uniform(0, size[0]), random.uniform(0, size[1]), random.uniform(0, np.pi)
        length, half = random.uniform(2, 90), random.uniform(0.5, 8)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        if random.random() < 0.4:
            along, across = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        corners = [
            (x, y) + along * a + across * b for a, b in ((0, -half), (length, -half), (length, half), (0, half))
        ]
        draw.polygon([tuple(corner) for corner in corners], fill=int(random.integers(60, 256)))
    spread = random.normal(0, 0.05, size[::-1])
    return np.clip(np.asarray(picture) / 255 + spread, 0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_equal_those_of_rapidocr_to_the_pixel(seed: int) -> None:
    probabilities = blobs(seed)
    page = (int(320 * (0.4 + seed / 7)), int(224 * (0.4 + seed / 7)) + seed)
    reference = DBPostProcess(0.3, 0.5, 1000, 1.6, "fast", True)
    expected, _ = reference(probabilities[np.newaxis, np.newaxis], (page[1], page[0]))
    found = find_boxes(probabilities, page)
    assert len(found) >= 3
    assert np.array_equal(np.stack(found), TextDetector.sorted_boxes(expected))


def test_an_empty_map_has_no_boxes() -> None:
    assert find_boxes(np.zeros((64, 96), np.float32), (96, 64)) == []


def test_unlikely_and_tiny_blobs_are_no_text() -> None:
    probabilities = np.zeros((64, 96), np.float32)
    probabilities[10:30, 10:60] = 0.4
    probabilities[50, 50] = 1
    assert find_boxes(probabilities, (96, 64)) == []


def test_a_box_grows_beyond_its_core_and_stays_on_the_page() -> None:
    probabilities = np.zeros((64, 96), np.float32)
    probabilities[0:10, 20:60] = 0.9
    (box,) = find_boxes(probabilities, (96, 64))
    assert box[:, 1].min() == 0
    assert box[:, 0].min() < 16
    assert box[:, 0].max() > 64
    assert box[0, 0] < box[1, 0]
    assert box[0, 1] < box[3, 1]


def test_people_read_from_the_top_and_along_a_line_from_the_left() -> None:
    def at(x: float, y: float) -> Float32Array:
        return np.array([[x, y], [x + 5, y], [x + 5, y + 5], [x, y + 5]], np.float32)

    shuffled = [at(50, 18), at(0, 60), at(90, 5), at(10, 12), at(40, 65)]
    order = [tuple(box[0].tolist()) for box in reading_order(shuffled)]
    assert order == [(10.0, 12.0), (50.0, 18.0), (90.0, 5.0), (0.0, 60.0), (40.0, 65.0)]
