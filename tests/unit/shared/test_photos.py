"""Photos become what the card declares, the quick way equals the plain one, and broken files are refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from skimage import data as photos

from tercet.codecs.codec import Float32Array
from tercet.errors import InputError
from tercet.models.card import ImageInput
from tercet.models.photos import preprocess, read_photo

MEAN, STD = (127.0, 120.0, 110.0), (128.0, 64.0, 60.0)
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]


def spec(size: int = 224, shorter: int = 256, resample: Resample = "bicubic") -> ImageInput:
    return ImageInput(tensor="x", size=size, resize_shorter=shorter, resample=resample, mean=MEAN, std=STD)


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(photos, name)())


def plainly(image: Image.Image, card: ImageInput) -> Float32Array:
    """All of the photo resized, then cut, as training pipelines do it."""
    scale = card.resize_shorter / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    whole = image.resize((width, height), getattr(Image.Resampling, card.resample.upper()))
    left, top = (width - card.size) // 2, (height - card.size) // 2
    pixels = np.asarray(whole.crop((left, top, left + card.size, top + card.size)), np.float32)
    channels = [(pixels[..., index] - MEAN[index]) / STD[index] for index in range(3)]
    return np.stack(channels)[np.newaxis].astype(np.float32)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_resizing_only_what_stays_equals_resizing_all(name: str, resample: Resample) -> None:
    card = spec(resample=resample)
    found, expected = preprocess(photo(name), card), plainly(photo(name), card)
    steps = np.abs(found - expected) * np.reshape(STD, (1, 3, 1, 1))
    assert steps.max() <= 8
    assert steps.mean() < 0.1


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (257, 1000), (1000, 301), (1, 1), (1, 4000), (3000, 2)])
def test_any_photo_gives_one_contiguous_float32_input(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (200, 100, 50))
    for card in (spec(), spec(32, 32, "nearest"), spec(5, 300, "lanczos")):
        tensor = preprocess(image, card)
        assert tensor.shape == (1, 3, card.size, card.size)
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        expected = (np.array([200, 100, 50], np.float32) - np.array(MEAN)) / np.array(STD)
        assert np.allclose(tensor, expected.reshape(1, 3, 1, 1), atol=1e-5)


def test_a_photo_that_fits_is_not_resampled() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    tensor = preprocess(Image.fromarray(pixels), spec(224, 224))
    back = tensor[0].transpose(1, 2, 0) * np.array(STD) + np.array(MEAN)
    assert np.abs(back - pixels).max() < 1e-3


def test_the_centre_is_what_stays() -> None:
    pixels = np.zeros((300, 600, 3), np.uint8)
    pixels[:, 250:350] = 255
    tensor = preprocess(Image.fromarray(pixels), spec(100, 300, "bilinear"))
    assert tensor.min() > 0


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_photos_of_any_mode_are_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("photo.tiff" if mode == "CMYK" else "photo.png")
    photo("chelsea").resize((60, 40)).convert(mode).save(path)
    image = read_photo(path)
    assert (image.mode, image.size) == ("RGB", (60, 40))


def test_a_photo_that_was_held_upright_is_read_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    image.save(tmp_path / "held.png", exif=exif)
    found = read_photo(tmp_path / "held.png")
    assert found.size == (20, 40)
    assert found.getpixel((10, 5)) == (255, 0, 0)
    assert found.getpixel((10, 35)) == (0, 0, 0)


def test_a_missing_photo_a_folder_and_a_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path)
    for content in (b"", b"just text", b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "text.jpg").write_bytes(content)
        with pytest.raises(InputError, match="not an image Pillow can read"):
            read_photo(tmp_path / "text.jpg")


FORMATS = ["jpeg", "png", "gif", "webp", "bmp", "tiff", "ppm"]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    photo("chelsea").resize((48, 32)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_photo_is_refused(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    path = tmp_path / f"photo.{kind}"
    for kept in (0.02, 0.2, 0.5, 0.8):
        path.write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(InputError, match=str(path)) as caught:
            read_photo(path)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_garbled_photo_is_read_or_refused_but_never_crashes(tmp_path: Path, kind: str) -> None:
    generator = np.random.default_rng(FORMATS.index(kind))
    path = tmp_path / f"photo.{kind}"
    for _ in range(60):
        data = bytearray(encoded_once[kind])
        for position in generator.integers(0, min(len(data), 200), 4):
            data[position] = generator.integers(0, 256)
        path.write_bytes(data)
        try:
            image = read_photo(path)
        except InputError:
            continue
        assert image.mode == "RGB"


encoded_once = {kind: encoded(kind) for kind in FORMATS}


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_an_absurdly_large_photo_is_refused_by_its_header(tmp_path: Path) -> None:
    """A file of 60 bytes that claims 20000×20000 pixels."""
    path = tmp_path / "bomb.png"
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IEND", b""))
    with pytest.raises(InputError, match="decompression bomb"):
        read_photo(path)
