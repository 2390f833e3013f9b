"""One input for all stages of a cascade: what crosses is the last stage's, each stage makes its own of it.

A photo is preprocessed as the last stage's card says. A stage with another card takes the pixels of that picture,
resizes them to its own size and normalises them its own way. Calibration and serving both come through here, so
that a threshold is used on the very scores it was certified for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tercet.codecs.codec import Array, Float32Array
from tercet.errors import MissingExtraError, SpecError, TensorContractError
from tercet.models.card import ImageInput, ModelCard, TensorInput

Tensors = Mapping[str, Array]


def check_inputs_fit(cards: list[ModelCard]) -> None:
    """SpecError unless the stages can share the last one's input, and give labels that can be compared."""
    last = cards[-1]
    for card in cards:
        if card.task != "classification" or card.labels is None:
            raise SpecError(f"stages of a cascade are classifiers; {card.name} does {card.task}")
        if card.labels != last.labels:
            raise SpecError(f"{card.name} and {last.name} have different labels: their answers cannot be compared")
        if card.input.kind != last.input.kind:
            raise SpecError(
                f"{card.name} takes {card.input.kind}s and {last.name} {last.input.kind}s: the stages of a cascade "
                "share one input"
            )


def adapt_input(
    tensors: Tensors, carried: ImageInput | TensorInput, own: ImageInput | TensorInput
) -> dict[str, Array]:
    """A stage's input from the one that crosses.

    Args:
        tensors: the last stage's input; never modified. A photo is (N, 3, size, size) float32, normalised as
            `carried` says.
        carried: the last stage's card input.
        own: this stage's. Equal, or both tensors: the input passes as it is.
    Returns:
        (N, 3, own.size, own.size) float32 for photos. Of equal size the very pixels, only normalised anew.
    Raises:
        TensorContractError: not such a photo, or not finite.
        MissingExtraError: sizes differ and there is no Pillow here.
    """
    if not isinstance(carried, ImageInput) or not isinstance(own, ImageInput) or carried == own:
        return dict(tensors)
    picture = tensors.get(carried.tensor)
    if picture is None or picture.dtype != np.float32 or picture.ndim != 4 or picture.shape[1] != 3:
        raise TensorContractError(
            f"a cascade's photo is {carried.tensor!r}, float32 (N, 3, height, width), not "
            + (", ".join(f"{name!r} {array.dtype} {array.shape}" for name, array in tensors.items()) or "nothing")
        )
    pixels = _pixels(np.asarray(picture, np.float32), carried)
    if pixels.shape[1:3] != (own.size, own.size):
        pixels = _resized(pixels, own)
    mean, std = (np.asarray(values, np.float32) for values in (own.mean, own.std))
    return {own.tensor: np.ascontiguousarray(((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))}


def needs_resize(carried: ImageInput | TensorInput, own: ImageInput | TensorInput) -> bool:
    return isinstance(carried, ImageInput) and isinstance(own, ImageInput) and carried.size != own.size


def require_resize() -> None:
    """MissingExtraError if pictures cannot be resized here."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the stages of this cascade take photos of different sizes, and resizing them needs Pillow: "
            "pip install pillow, or 'tercet[device]', here"
        ) from error


def _pixels(picture: Float32Array, spec: ImageInput) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    if not np.isfinite(picture).all():
        raise TensorContractError("this photo has NaN or infinity in it")
    mean, std = (np.asarray(values, np.float64) for values in (spec.mean, spec.std))
    return np.clip(np.rint(picture.transpose(0, 2, 3, 1) * std + mean), 0, 255).astype(np.uint8)


def _resized(pixels: np.ndarray, own: ImageInput) -> np.ndarray:
    require_resize()
    from PIL import Image

    method = Image.Resampling[own.resample.upper()]
    side = (own.size, own.size)
    return np.stack([np.asarray(Image.fromarray(picture).resize(side, method)) for picture in pixels])
