"""Photo crops for the demo, cut from the photos that scikit-image and scikit-learn ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data as skimage_data
from sklearn.datasets import load_sample_image

Pixels = npt.NDArray[np.uint8]

_SMALLEST_SHARE, _LARGEST_SIDE_PX = 0.45, 448

_PHOTOS: dict[str, Callable[[], Pixels]] = {
    "chelsea": skimage_data.chelsea,
    "coffee": skimage_data.coffee,
    "rocket": skimage_data.rocket,
    "astronaut": skimage_data.astronaut,
    "motorcycle": lambda: skimage_data.stereo_motorcycle()[0],
    "flower": lambda: load_sample_image("flower.jpg"),
    "china": lambda: load_sample_image("china.jpg"),
}


def write_crops(count: int, folders: list[Path], seed: int = 0) -> list[Path]:
    """Write `count` different square crops as PNG, dealt to `folders` in turn; the same for the same seed.

    The first of each photo is its centre. The others are random squares of 45–100 % of its shorter side,
    made at most 448 pixels wide.
    """
    random = np.random.default_rng(seed)
    photos = read_photos()
    names = list(photos)
    paths = []
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    for number in range(count):
        name = names[number % len(names)]
        crop = photo_crop(photos[name], random if number >= len(names) else None)
        path = folders[number % len(folders)] / f"{number:04d}-{name}.png"
        crop.save(path, compress_level=1)
        paths.append(path)
    return paths


def read_photos() -> dict[str, Image.Image]:
    """The photos by name, RGB."""
    return {name: Image.fromarray(load()).convert("RGB") for name, load in _PHOTOS.items()}


def photo_crop(
    photo: Image.Image, random: np.random.Generator | None, smallest_share: float = _SMALLEST_SHARE
) -> Image.Image:
    """A random square of `smallest_share` to all of the shorter side, at most 448 pixels wide.

    Without `random` the largest square in the centre.
    """
    box = _centre_box(photo) if random is None else _random_box(photo, random, smallest_share)
    side = min(box[2] - box[0], _LARGEST_SIDE_PX)
    return photo.resize((side, side), Image.Resampling.LANCZOS, box=box)


Box = tuple[int, int, int, int]


def _centre_box(photo: Image.Image) -> Box:
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    return left, top, left + side, top + side


def _random_box(photo: Image.Image, random: np.random.Generator, smallest_share: float) -> Box:
    shorter = min(photo.size)
    side = int(random.integers(int(shorter * smallest_share), shorter + 1))
    left = int(random.integers(0, photo.width - side + 1))
    top = int(random.integers(0, photo.height - side + 1))
    return left, top, left + side, top + side
