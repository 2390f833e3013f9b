from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from support.written_pictures import written
from tercet_cloud.measurement.sample_photos import PHOTO_NAMES, read_photos
from tercet_cloud.pipelines.ocr.frame_content import count_busy_cells, look


def noise(level: float, spread: float, rows: int = 480, columns: int = 640) -> np.ndarray:
    values = np.random.default_rng(7).normal(level, spread, (rows, columns, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def test_pages_and_photos_are_not_empty() -> None:
    pages = [np.repeat(page[..., np.newaxis], 3, axis=2) for page in (data.page(), data.text())]
    photos = [np.asarray(photo) for photo in read_photos(PHOTO_NAMES).values()]
    assert [look(picture)["empty"] for picture in pages + photos] == [False] * (2 + len(PHOTO_NAMES))


@pytest.mark.parametrize(("level", "spread"), [(4, 3), (128, 8), (128, 12), (250, 4)])
def test_walls_covers_and_blank_paper_are_empty_in_spite_of_noise(level: float, spread: float) -> None:
    assert look(noise(level, spread)) == {"empty": True, "busy_cells": 0}


def test_a_real_sky_is_empty() -> None:
    sky = data.camera()[:60]
    assert look(np.repeat(sky[..., np.newaxis], 3, axis=2))["empty"]


def test_light_that_falls_off_along_a_wall_is_no_content() -> None:
    fall = np.linspace(60, 220, 640)[np.newaxis, :, np.newaxis]
    wall = np.clip(fall + np.random.default_rng(1).normal(0, 6, (480, 640, 3)), 0, 255).astype(np.uint8)
    assert look(wall)["empty"]


@pytest.mark.parametrize(("height", "ink", "paper"), [(8, 0, 255), (10, 150, 255), (14, 200, 255), (10, 255, 0)])
def test_one_small_word_in_a_large_picture_is_content(height: int, ink: int, paper: int) -> None:
    picture = written((1920, 1080), [("Exit", height, (1003, 407))], ink=(ink,) * 3, paper=(paper,) * 3)
    assert not look(picture)["empty"]


def test_cells_at_the_edges_count_and_pictures_smaller_than_a_cell_are_looked_at() -> None:
    picture = np.zeros((5, 37, 3), np.uint8)
    picture[:, 34:] = 255
    assert count_busy_cells(picture) == 1
    assert look(np.zeros((1, 1, 3), np.uint8)) == {"empty": True, "busy_cells": 0}
