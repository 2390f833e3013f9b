from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tercet.errors import InputError, SpecError
from tercet.steps import images
from tercet.steps.images import crop, decode, resize


def ramp(rows: int = 20, columns: int = 30) -> images.Pixels:
    """Red grows to the right, green downwards."""
    picture = np.zeros((rows, columns, 3), np.uint8)
    picture[..., 0] = np.arange(columns) * 8
    picture[..., 1] = np.arange(rows)[:, np.newaxis] * 8
    return picture


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_file_gives_its_very_pixels(kind: str) -> None:
    assert np.array_equal(decode(file_of(Image.fromarray(ramp()), kind)), ramp())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_file_gives_nearly_its_pixels(kind: str) -> None:
    decoded = decode(file_of(Image.fromarray(ramp()), kind, quality=95))
    assert np.abs(decoded.astype(int) - ramp()).mean() < 6


def test_a_photo_is_turned_as_its_camera_says() -> None:
    photo = Image.fromarray(ramp())
    photo.getexif()[0x0112] = 6
    data = file_of(photo, exif=photo.getexif())
    assert np.array_equal(decode(data), np.rot90(ramp(), -1))


def test_grey_palette_and_sixteen_bit_pictures_become_rgb() -> None:
    grey = ramp()[..., 0]
    deep = Image.fromarray(grey.astype(np.uint16) << 8)
    for image in (Image.fromarray(grey), Image.fromarray(grey).convert("P"), deep):
        assert np.array_equal(decode(file_of(image)), np.repeat(grey[..., np.newaxis], 3, axis=2))


def test_what_is_transparent_becomes_white() -> None:
    alpha = np.zeros((20, 30, 1), np.uint8)
    alpha[:, :15] = 255
    decoded = decode(file_of(Image.fromarray(np.concatenate([ramp(), alpha], axis=2))))
    assert np.array_equal(decoded[:, :15], ramp()[:, :15])
    assert (decoded[:, 15:] == 255).all()


@pytest.mark.parametrize("data", [b"", b"no picture", file_of(Image.fromarray(ramp()))[:60]])
def test_what_is_no_picture_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as refusal:
        decode(data)
    assert "\n" not in str(refusal.value)


def test_kinds_that_other_programs_would_read_are_refused() -> None:
    with pytest.raises(InputError, match="no picture"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def test_a_claim_of_too_many_pixels_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 599)
    with pytest.raises(InputError, match="30×20 is over 599 pixels"):
        decode(file_of(Image.fromarray(ramp())))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"longest": 15}, (10, 15)),
        ({"longest": 60}, (20, 30)),
        ({"longest": 60, "enlarge": True}, (40, 60)),
        ({"shortest": 10}, (10, 15)),
        ({"width": 7, "height": 40}, (40, 7)),
        ({"longest": 1}, (1, 1)),
    ],
)
def test_a_picture_gets_the_size_that_is_asked_for(options: dict[str, Any], shape: tuple[int, int]) -> None:
    assert resize(ramp(), **options).shape == (*shape, 3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"longest": 9, "shortest": 9},
        {"width": 9},
        {"width": 9, "height": 9, "longest": 9},
        {"width": 0, "height": 9},
        {"longest": 10**6, "enlarge": True},
        {"longest": 9, "resample": "best"},
    ],
)
def test_no_size_or_two_of_them_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="resize"):
        resize(ramp(), **options)


def test_upright_boxes_are_cut_out_with_their_margin_and_within_the_picture() -> None:
    inner, corner = crop(ramp(), [[5, 4, 9, 10], np.array([25.0, 15.0, 99.0, 99.0])], margin_px=1)
    assert np.array_equal(inner, ramp()[3:11, 4:10])
    assert np.array_equal(corner, ramp()[14:, 24:])


def test_the_corners_of_an_upright_box_cut_the_same_as_the_box() -> None:
    cut, turned = crop(ramp(), [[(5, 4), (9, 4), (9, 10), (5, 10)], [(9, 4), (9, 10), (5, 10), (5, 4)]])
    assert np.array_equal(cut, ramp()[4:10, 5:9])
    assert np.array_equal(turned, np.rot90(ramp()[4:10, 5:9]))


def test_a_slanted_box_comes_out_upright() -> None:
    picture = np.zeros((60, 60, 3), np.uint8)
    for step in range(40):
        picture[8 + step : 14 + step, 10 + step] = 255
    (cut,) = crop(picture, [[(10, 8), (50, 48), (50, 54), (10, 14)]])
    assert cut.shape == (6, 56, 3)
    assert cut[1:-1, 2:-2].mean() > 230


def test_no_boxes_give_no_pictures() -> None:
    assert crop(ramp(), []) == []


@pytest.mark.parametrize(
    "box",
    [
        [1, 2, 3],
        [[1, 2], [3, 4]],
        [5, 5, float("nan"), 9],
        ["a", 1, 2, 3],
        [40, 2, 50, 9],
        [9, 9, 5, 5],
        [(1, 1), (1, 1), (1, 1), (1, 1)],
        [(0, 0), (5, 5), (9, 9), (0, 9)],
    ],
)
def test_a_box_that_holds_nothing_is_refused_with_its_number(box: list[Any]) -> None:
    with pytest.raises(InputError, match="crop"):
        crop(ramp(), [[1, 1, 4, 4], box])
