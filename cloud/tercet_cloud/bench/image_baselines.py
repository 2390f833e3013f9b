"""What sending the image itself costs: the resized and cropped input as PNG, JPEG or WebP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from tercet.codecs.codec import Float32Array
from tercet.models.card import ImageInput


@dataclass(frozen=True)
class ImageBaseline:
    """A file format at one quality; `spec` names it as the codecs of boundary 0 are named."""

    spec: str
    save: Callable[[Image.Image, BytesIO], None]

    def encode(self, tensor: Float32Array, card: ImageInput) -> bytes:
        """Args: tensor: (1, 3, H, W) float32 as `preprocess` makes it, so that its pixels come back exactly."""
        mean, std = _normalisation(card)
        pixels = np.clip(np.rint(tensor[0] * std + mean), 0, 255).astype(np.uint8)
        file = BytesIO()
        self.save(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))), file)
        return file.getvalue()

    def decode(self, data: bytes, card: ImageInput) -> Float32Array:
        """(1, 3, H, W) float32."""
        mean, std = _normalisation(card)
        with Image.open(BytesIO(data)) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)
        tensor: Float32Array = np.ascontiguousarray((pixels - mean) / std)[np.newaxis]
        return tensor


def _normalisation(card: ImageInput) -> tuple[Float32Array, Float32Array]:
    mean, std = (np.asarray(values, np.float32).reshape(3, 1, 1) for values in (card.mean, card.std))
    return mean, std


def _jpeg(quality: int) -> ImageBaseline:
    return ImageBaseline(f"jpeg:{quality}", lambda image, file: image.save(file, "JPEG", quality=quality))


def _webp(quality: int) -> ImageBaseline:
    return ImageBaseline(f"webp:{quality}", lambda image, file: image.save(file, "WEBP", quality=quality))


BASELINES = (
    ImageBaseline("png", lambda image, file: image.save(file, "PNG")),
    *(_jpeg(quality) for quality in (95, 85, 75, 50, 25, 10)),
    *(_webp(quality) for quality in (90, 75, 50, 25, 5)),
)
