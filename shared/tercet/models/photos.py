"""Photos to input tensors, as the model card declares. Needs Pillow (extras device and cloud)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tercet.codecs.codec import Float32Array
from tercet.errors import InputError
from tercet.models.card import ImageInput

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read_photo(path: Path) -> Image.Image:
    """An RGB image, turned upright if its camera says how; InputError if missing, broken or absurdly large."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image Pillow can read") from error
    except Exception as error:  # Pillow's readers have no common error: NotImplementedError, EOFError, …
        raise InputError(f"{path} cannot be read as an image: {error}") from error


def preprocess(image: Image.Image, spec: ImageInput) -> Float32Array:
    """Resize, centre-crop and normalise one photo.

    Args:
        image: RGB, any size.
    Returns:
        (1, 3, size, size) float32, contiguous.
    """
    scale = spec.resize_shorter / min(image.size)
    width, height = (max(spec.resize_shorter, round(side * scale)) for side in image.size)
    left, top = (width - spec.size) // 2, (height - spec.size) // 2
    # Resize and crop in one step: only the pixels that stay are computed.
    region = (
        left * image.width / width,
        top * image.height / height,
        (left + spec.size) * image.width / width,
        (top + spec.size) * image.height / height,
    )
    cropped = image.resize((spec.size, spec.size), _RESAMPLE[spec.resample], box=region)
    pixels = np.asarray(cropped, dtype=np.float32)
    mean, std = (np.asarray(values, np.float32) for values in (spec.mean, spec.std))
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1)[np.newaxis])
