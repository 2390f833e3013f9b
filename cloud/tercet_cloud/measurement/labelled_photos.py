"""Photos to measure codecs and plans with: crops with labels from a folder, and crops of the demo's photos.

Crops are made in memory and preprocessed as the model's card says; the same for the same seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tercet.codecs.codec import Float32Array
from tercet.errors import InputError
from tercet.models.card import ImageInput
from tercet.models.photos import preprocess, read_photo
from tercet_cloud.measurement.sample_photos import photo_crop, read_photos

CROPS_PER_PHOTO = 6
# Smaller crops of a labelled photo may not show what its label says.
SMALLEST_SHARE = 0.7
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_LABEL = re.compile(r"_([0-9]+)$")


@dataclass(frozen=True)
class PhotoSet:
    """Preprocessed crops.

    `description` says in a few words what they are; `inputs` (n, 3, size, size) float32; `labels` n class indices,
    or None without labels; `photos` from how many different photos the crops are.
    """

    description: str
    inputs: Float32Array
    labels: tuple[int, ...] | None
    photos: int

    def __len__(self) -> int:
        return len(self.inputs)


def folder_photos(
    folder: Path, spec: ImageInput, crops_per_photo: int = CROPS_PER_PHOTO, *, seed: int = 0
) -> PhotoSet:
    """`crops_per_photo` crops of each photo in `folder`, without labels; InputError if there are none."""
    paths = photo_paths(folder)
    inputs = np.concatenate(photo_crops(map(read_photo, paths), [crops_per_photo] * len(paths), spec, seed))
    description = f"{len(inputs)} crops of {len(paths)} photos in {folder.name} (seed {seed})"
    return PhotoSet(description, inputs, None, len(paths))


def labelled_photos(
    folder: Path, spec: ImageInput, classes: int, crops_per_photo: int = CROPS_PER_PHOTO, *, seed: int = 0
) -> PhotoSet:
    """`crops_per_photo` crops of each photo in `folder` whose name ends in _LABEL, e.g. imagenet_07_609.jpg.

    A common prefix chooses: if any photo is called imagenet_…, only those are taken. The first crop of each is its
    centre, the others random squares of 70–100 % of the shorter side. Raises InputError if there are none.
    """
    labels = labelled_paths(folder, classes)
    counts = [crops_per_photo] * len(labels)
    inputs = np.concatenate(photo_crops(map(read_photo, labels), counts, spec, seed))
    repeated = tuple(label for label in labels.values() for _ in range(crops_per_photo))
    description = f"{len(inputs)} crops of {len(labels)} labelled photos in {folder.name} (seed {seed})"
    return PhotoSet(description, inputs, repeated, len(labels))


def demo_photos(spec: ImageInput, crops_per_photo: int, *, part: slice = slice(None), seed: int = 1) -> PhotoSet:
    """Crops of the photos that scikit-image and scikit-learn ship, or of those in `part`; no labels."""
    photos = dict(list(read_photos().items())[part])
    inputs = np.concatenate(photo_crops(photos.values(), [crops_per_photo] * len(photos), spec, seed))
    description = f"{len(inputs)} crops of the demo's photos {', '.join(photos)} (seed {seed})"
    return PhotoSet(description, inputs, None, len(photos))


def photo_paths(folder: Path) -> list[Path]:
    """The photos of a folder, by name; InputError if it cannot be listed or holds none."""
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed: {error.strerror}") from error
    if not paths:
        raise InputError(f"{folder} holds no photos ({', '.join(_SUFFIXES)})")
    return paths


def labelled_paths(folder: Path, classes: int) -> dict[Path, int]:
    """The photos of `labelled_photos` with their labels."""
    paths = photo_paths(folder)
    paths = [path for path in paths if path.stem.startswith("imagenet_")] or paths
    labels = {path: int(found[1]) for path in paths if (found := _LABEL.search(path.stem))}
    if len(labels) != len(paths) or max(labels.values()) >= classes:
        raise InputError(
            f"{folder}: expected images named …_LABEL.jpg with labels below {classes}, "
            f"e.g. imagenet_07_609.jpg; found {len(paths)} images, {len(labels)} of them with a label"
        )
    return labels


def photo_crops(
    photos: Iterable[Image.Image], counts: Sequence[int], spec: ImageInput, seed: int
) -> list[Float32Array]:
    """`counts` crops of each photo in turn, each (1, 3, size, size) float32."""
    random = np.random.default_rng(seed)
    return [
        preprocess(photo_crop(photo, random if number else None, SMALLEST_SHARE), spec)
        for photo, count in zip(photos, counts, strict=True)
        for number in range(count)
    ]
