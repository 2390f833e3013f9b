"""Photo crops for demo, benches and planner, cut from the photos that scikit-image and scikit-learn ship."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tercet.errors import MissingExtraError

Pixels = npt.NDArray[np.uint8]

_SMALLEST_SHARE, _LARGEST_SIDE_PX = 0.45, 448


def _of_skimage(name: str, part: int | None = None) -> Callable[[], Pixels]:
    def load() -> Pixels:
        from skimage import data

        loaded = getattr(data, name)()
        pixels: Pixels = loaded if part is None else loaded[part]
        return pixels

    return load


def _of_sklearn(name: str) -> Callable[[], Pixels]:
    def load() -> Pixels:
        from sklearn.datasets import load_sample_image

        pixels: Pixels = load_sample_image(name)
        return pixels

    return load


_PHOTOS: dict[str, Callable[[], Pixels]] = {
    "chelsea": _of_skimage("chelsea"),
    "coffee": _of_skimage("coffee"),
    "rocket": _of_skimage("rocket"),
    "astronaut": _of_skimage("astronaut"),
    "motorcycle": _of_skimage("stereo_motorcycle", 0),
    "flower": _of_sklearn("flower.jpg"),
    "china": _of_sklearn("china.jpg"),
}
# Pictures that are less like holiday photos; the demo does not show them.
_OTHERS: dict[str, Callable[[], Pixels]] = {
    "retina": _of_skimage("retina"),
    "tissue": _of_skimage("immunohistochemistry"),
    "camera": _of_skimage("camera"),
    "coins": _of_skimage("coins"),
}
PHOTO_NAMES = tuple(_PHOTOS)


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


def read_photos(names: Iterable[str] = PHOTO_NAMES) -> dict[str, Image.Image]:
    """The photos by name, RGB. MissingExtraError where the packages that ship them are not installed."""
    loaders = {**_PHOTOS, **_OTHERS}
    try:
        return {name: Image.fromarray(loaders[name]()).convert("RGB") for name in names}
    except ImportError as error:
        raise MissingExtraError(
            f"the sample photos come with the package {error.name}: run `pip install 'tercet[demo]'`, "
            "or give a folder of photos with --photos"
        ) from error


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
