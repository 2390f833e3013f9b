"""Ways in which pictures stop being like those that a cascade was calibrated on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tercet.codecs.codec import Float32Array

_DARK = -1.0


@dataclass(frozen=True)
class Drift:
    """`change` makes of (n, 1, H, W) float32 pictures in -1 … 1 others of the same shape and range."""

    name: str
    change: Callable[[Float32Array], Float32Array]


def noise(deviation: float, seed: int = 0) -> Drift:
    """Gaussian noise on every pixel, cut off at the ends of the range."""

    def change(images: Float32Array) -> Float32Array:
        added = np.random.default_rng(seed).normal(0, deviation, images.shape)
        return np.clip(images + added, -1, 1).astype(np.float32)

    return Drift(f"noise σ {deviation:g}", change)


def inversion() -> Drift:
    """Dark for bright."""
    return Drift("inversion", lambda images: -images)


def rotation(degrees: float) -> Drift:
    """About the middle; the corners are dark."""

    def change(images: Float32Array) -> Float32Array:
        turned = ndimage.rotate(images, degrees, axes=(3, 2), reshape=False, order=1, cval=_DARK)
        clipped: Float32Array = np.clip(turned, -1, 1).astype(np.float32)
        return clipped

    return Drift(f"rotation {degrees:g}°", change)


def shift(share: float) -> Drift:
    """To the right and down by a share of the width, whole pixels; what comes in is dark."""

    def change(images: Float32Array) -> Float32Array:
        step = max(1, round(share * images.shape[3]))
        moved = np.full_like(images, _DARK)
        moved[:, :, step:, step:] = images[:, :, :-step, :-step]
        return moved

    return Drift(f"shift {share:.0%}", change)


DRIFTS = (noise(0.5), noise(1.0), inversion(), rotation(30), rotation(90), shift(0.14))
