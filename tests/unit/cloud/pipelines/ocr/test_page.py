from __future__ import annotations

import numpy as np
import pytest
from rapidocr.utils.process_img import apply_vertical_padding, resize_image_within_bounds

from tercet.errors import InputError
from tercet_cloud.pipelines.ocr.page import fit_page

SIZES = [
    (300, 400),
    (31, 248),
    (31, 249),
    (30, 40),
    (12, 90),
    (29, 17),
    (70, 1999),
    (2001, 500),
    (1200, 2500),
    (2400, 61),
    (2000, 2000),
]


def picture(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(rows * columns).integers(0, 256, (rows, columns, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_a_photo_is_fitted_to_the_very_pixels_that_rapidocr_gives_its_detector(size: tuple[int, int]) -> None:
    photo = picture(*size)
    bounded, _, _ = resize_image_within_bounds(photo, 30, 2000)
    expected, record = apply_vertical_padding(bounded, {}, 8, 30)
    page = fit_page(photo)
    assert np.array_equal(page.pixels, expected)
    assert page.band == record["padding_1"]["top"]


@pytest.mark.parametrize("size", SIZES)
def test_the_corners_of_the_photo_come_back_from_the_page(size: tuple[int, int]) -> None:
    rows, columns = size
    page = fit_page(picture(rows, columns))
    high, wide = page.pixels.shape[:2]
    on_page = np.array([[0, page.band], [wide, page.band], [wide, high - page.band], [0, 0]], np.float32)
    expected = [[0, 0], [columns, 0], [columns, rows], [0, 0]]
    assert np.allclose(page.in_photo(on_page), expected, atol=0.5)


@pytest.mark.parametrize("size", [(30, 2000), (1, 66), (66, 1), (2000, 30), (61, 4000)])
def test_the_narrowest_photos_keep_to_the_promised_sides(size: tuple[int, int]) -> None:
    sides = fit_page(picture(*size)).pixels.shape[:2]
    assert min(sides) >= 30
    assert max(sides) <= 2000


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (4, 3000), (1, 67), (29, 2000)])
def test_a_narrower_photo_is_refused_before_it_grows(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="too narrow to read"):
        fit_page(picture(*size))


def test_a_photo_without_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="5×0 has no pixels"):
        fit_page(np.zeros((0, 5, 3), np.uint8))
