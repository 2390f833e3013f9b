"""Sequences of frames as a camera gives them, from one photo: what codecs for streams are measured on.

Frames are squares of `size` pixels; with the default no resampling is left to do for a model that resizes to 256.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from tercet.errors import InputError

DEFAULT_SIZE_PX = 256
# What a small sensor adds in daylight, of 255 levels.
DEFAULT_NOISE_LEVELS = 2.0


def panning_sequence(
    photo: Image.Image,
    frames: int,
    step_px: int,
    *,
    size_px: int = DEFAULT_SIZE_PX,
    noise_levels: float = 0.0,
    seed: int = 0,
) -> Iterator[Image.Image]:
    """A camera that turns: the window moves `step_px` to the right each frame, and back from the photo's edge.

    Args:
        photo: RGB, wider than `size_px` unless `step_px` is 0.
        noise_levels: standard deviation of fresh noise in every frame, in levels of 255.
    Raises:
        InputError: a photo without room to move.
    """
    room = photo.width - size_px
    if room < 0 or photo.height < size_px or (room < step_px):
        raise InputError(f"a photo of {photo.size} has no room for windows of {size_px} that move by {step_px}")
    random = np.random.default_rng(seed)
    top = (photo.height - size_px) // 2
    for number in range(frames):
        travelled = number * step_px
        left = room // 2 if step_px == 0 else _bounce(travelled, room)
        yield _noisy(photo.crop((left, top, left + size_px, top + size_px)), noise_levels, random)


def static_sequence(
    photo: Image.Image,
    frames: int,
    *,
    noise_levels: float = DEFAULT_NOISE_LEVELS,
    size_px: int = DEFAULT_SIZE_PX,
    seed: int = 0,
) -> Iterator[Image.Image]:
    """A camera that stands still: the photo's middle, with fresh noise in every frame."""
    return panning_sequence(photo, frames, 0, size_px=size_px, noise_levels=noise_levels, seed=seed)


def _bounce(travelled: int, room: int) -> int:
    """Where a point is that moves to and fro between 0 and `room`."""
    place = travelled % (2 * room)
    return place if place <= room else 2 * room - place


def _noisy(picture: Image.Image, levels: float, random: np.random.Generator) -> Image.Image:
    if not levels:
        return picture
    pixels = np.asarray(picture, np.float32)
    noise = random.normal(0, levels, pixels.shape).astype(np.float32)
    return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))
