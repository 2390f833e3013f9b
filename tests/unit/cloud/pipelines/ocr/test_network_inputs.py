"""Tensors equal those of rapidocr to the last bit: it is the reference for what the networks were trained on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from rapidocr.ch_ppocr_cls.main import TextClassifier
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from rapidocr.ch_ppocr_rec.main import TextRecognizer

from tercet.errors import InputError
from tercet_cloud.pipelines.ocr.network_inputs import (
    MAX_PAGE_PIXELS,
    line_tensor,
    orientation_tensor,
    page_tensor,
    recogniser_widths,
)


def picture(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(rows * columns).integers(0, 256, (rows, columns, 3), np.uint8)


@pytest.mark.parametrize("size", [(100, 100), (191, 384), (90, 300), (752, 800), (736, 736), (400, 130)])
def test_pages_become_the_detectors_tensors(size: tuple[int, int]) -> None:
    page = picture(*size)
    expected = DetPreProcess()(page[..., ::-1])
    assert expected is not None
    assert np.array_equal(page_tensor(page), expected)


def test_a_page_whose_tensor_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(InputError, match="64×2016 is too narrow"):
        page_tensor(picture(2016, 64))
    rows, columns = page_tensor(picture(1984, 96)).shape[2:]
    assert rows * columns <= MAX_PAGE_PIXELS


@pytest.mark.parametrize("size", [(20, 60), (48, 192), (31, 400), (60, 61), (9, 11)])
def test_lines_become_the_orientation_networks_tensors(size: tuple[int, int]) -> None:
    line = picture(*size)
    expected = TextClassifier.resize_norm_img(SimpleNamespace(cls_image_shape=[3, 48, 192]), line[..., ::-1])
    assert np.array_equal(orientation_tensor(line)[0], expected)


@pytest.mark.parametrize("size", [(20, 60), (48, 320), (31, 400), (60, 61), (9, 11)])
def test_lines_become_the_recognisers_tensors(size: tuple[int, int]) -> None:
    line = picture(*size)
    ratio = max(320 / 48, size[1] / size[0])
    expected = TextRecognizer.resize_norm_img(SimpleNamespace(rec_image_shape=[3, 48, 320]), line[..., ::-1], ratio)
    assert np.array_equal(line_tensor(line, expected.shape[2])[0], expected)


def test_six_lines_of_about_one_shape_share_a_width() -> None:
    lines = [picture(20, columns) for columns in (400, 40, 60, 300, 20, 80, 100, 200)]
    assert recogniser_widths(lines) == [960, 480, 480, 960, 480, 480, 480, 480]
    assert recogniser_widths(lines[1:3]) == [320, 320]
    assert recogniser_widths([]) == []
