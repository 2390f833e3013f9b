"""`jpeg:Q`, `webp:Q`, `png`: boundary 0 of a model that takes photos, as the pictures it was made of.

The input tensor is (pixels - mean) / std, so its pixels can be had back exactly; they are what is coded. mean and
std travel with the tensor, and the decoder needs to know nothing of the model.

    parameters    mean of R, G, B, then std of R, G, B: six little-endian float32
    payload       for each picture of the batch its length in bytes (4, little-endian), then its file

Needs Pillow where pictures are coded or decoded; a tier that passes them on needs nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import (
    Array,
    Buffer,
    Codec,
    EncodedTensor,
    Float32Array,
    contiguous_float32,
    require_at_most,
    require_finite,
    require_size,
)
from tercet.codecs.image_headers import IMAGE_SIZES
from tercet.codecs.spec import StageText
from tercet.codecs.stage import BuildContext, CodecSpec, Slot, StageKind, StageSpec
from tercet.errors import MissingExtraError, SpecError, TensorContractError, WireFormatError
from tercet.models.card import ImageInput

if TYPE_CHECKING:
    from types import ModuleType

MAX_SIDE = 8192
Pixels = npt.NDArray[np.uint8]

_LENGTH = struct.Struct("<I")
_FLOAT = np.dtype("<f4")
_PARAMETER_BYTES = 6 * _FLOAT.itemsize
_STD_RANGE = (1e-6, 1e6)
_MEAN_REACH = 1e6
# How far from 0…255 a value may lie: not further than rounding brings it back.
_SLACK = 0.5
# No encoder needs more, at any quality: noise takes about 2 bytes a value, tables and headers a few KiB.
_BYTES_PER_VALUE = 4
_HEADER_BYTES = 64 * 1024


@dataclass(frozen=True)
class ImageCodec:
    """Pictures as files.

    png decodes to the very bits that `preprocess` gave (tested); jpeg and webp lose what their quality says.

    `image` is the card's input, which only encoding needs.
    """

    stage: ImageFormat
    image: ImageInput | None = None

    @property
    def spec(self) -> str:
        return str(self.stage)

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: (N, 3, H, W) float32, normalised as the card says; H and W 1 to 8192.

        Raises:
            TensorContractError: another shape, or pixel values outside 0…255.
            SpecError: the model's card has no image input, or is not there.
            MissingExtraError: no Pillow here.
        """
        if self.image is None:
            raise SpecError(
                f"codec {self.spec} codes photos as the model's card says, but no card with an image input is here"
            )
        source = contiguous_float32(array, self.spec)
        if source.ndim != 4 or source.shape[1] != 3 or not all(1 <= side <= MAX_SIDE for side in source.shape[2:]):
            raise TensorContractError(
                f"codec {self.spec} takes (N, 3, H, W) with sides of 1 to {MAX_SIDE}, not {source.shape}"
            )
        normalisation = np.array([self.image.mean, self.image.std], _FLOAT)
        pixels = _pixels(source, normalisation, self.spec)
        parts: list[Buffer] = []
        for picture in pixels:
            coded = self._code(picture)
            parts += (_LENGTH.pack(len(coded)), coded)
        return EncodedTensor(b"".join(parts), normalisation.tobytes())

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return shape[0] * (_HEADER_BYTES + _BYTES_PER_VALUE * prod(shape[1:])) if shape else 0

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """Every file's own claim of its size is held against `shape` before anything of it is decoded.

        Raises:
            WireFormatError: anything but one complete file of this format, plain kind and size for each picture.
            MissingExtraError: no Pillow here.
        """
        if len(shape) != 4 or shape[1] != 3 or not all(1 <= side <= MAX_SIDE for side in shape[2:]):
            raise WireFormatError(f"{self.spec} cannot give a tensor of shape {shape}")
        require_size(f"{self.spec} parameters", len(encoded.parameters), _PARAMETER_BYTES)
        require_at_most(f"{self.spec} payload", len(encoded.payload), self.max_payload_bytes(dtype, shape))
        mean, std = np.frombuffer(encoded.parameters, _FLOAT).astype(np.float32).reshape(2, 3)
        if not (np.abs(mean).max() <= _MEAN_REACH and _STD_RANGE[0] <= std.min() and std.max() <= _STD_RANGE[1]):
            raise WireFormatError(f"{self.spec} parameters: no mean and standard deviation of pixels")
        array = np.empty(shape, np.float32)
        for index, data in enumerate(self._split(encoded.payload, shape[0])):
            pixels = self._decode(data, shape[2], shape[3])
            array[index] = ((pixels.astype(np.float32) - mean) / std).transpose(2, 0, 1)
        return array

    def _split(self, payload: Buffer, count: int) -> list[bytes]:
        view, files = memoryview(payload), []
        for _ in range(count):
            length = _LENGTH.unpack_from(view)[0] if len(view) >= _LENGTH.size else len(view)
            if _LENGTH.size + length > len(view):
                raise WireFormatError(f"{self.spec} payload: a picture of {length} bytes is cut short")
            files.append(bytes(view[_LENGTH.size : _LENGTH.size + length]))
            view = view[_LENGTH.size + length :]
        require_size(f"{self.spec} payload after its last picture", len(view), 0)
        return files

    def _code(self, picture: Pixels) -> bytes:
        file = BytesIO()
        options: dict[str, Any] = {} if self.stage.quality is None else {"quality": self.stage.quality}
        _pillow(self.spec).fromarray(picture).save(file, self.stage.file_format, **options)
        return file.getvalue()

    def _decode(self, data: bytes, height: int, width: int) -> Pixels:
        """(height, width, 3) uint8."""
        size = IMAGE_SIZES[self.stage.file_format](data)
        if size != (width, height):
            raise WireFormatError(
                f"{self.spec} payload: a picture of {size[0]}×{size[1]}, where the tensor has {width}×{height}"
            )
        pillow = _pillow(self.spec)
        try:
            with pillow.open(BytesIO(data), formats=[self.stage.file_format]) as picture:
                if (picture.size, picture.mode, getattr(picture, "n_frames", 1)) != (size, "RGB", 1):
                    raise WireFormatError(f"{self.spec} payload: not one RGB picture of the size it claims")
                pixels: Pixels = np.asarray(picture)
        except WireFormatError:
            raise
        except Exception as error:  # Pillow's readers have no common error
            raise WireFormatError(f"{self.spec} payload: cannot be decoded: {error}") from error
        require_size(f"{self.spec} picture", pixels.nbytes, 3 * height * width)
        return pixels


def _pixels(source: Float32Array, normalisation: Float32Array, spec: str) -> Pixels:
    """(N, H, W, 3) uint8, from (N, 3, H, W) float32 and ((mean), (std)) float32."""
    if source.size:
        require_finite(source.min(), spec)
        require_finite(source.max(), spec)
    # In float64, so that nothing but the sender's own rounding is there to be rounded away.
    mean, std = normalisation.astype(np.float64)
    values = source.transpose(0, 2, 3, 1) * std + mean
    low, high = values.min(initial=0), values.max(initial=0)
    if low < -_SLACK or high > 255 + _SLACK:
        raise TensorContractError(
            f"codec {spec} takes pixels of 0 to 255, this tensor has {low:.1f} to {high:.1f}: "
            "was it normalised as the model's card says?"
        )
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _pillow(spec: str) -> ModuleType:
    """PIL.Image; imported when first needed, because not every tier has it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            f"codec {spec} needs Pillow: pip install pillow, or 'tercet[device]', here"
        ) from error
    return Image


@dataclass(frozen=True)
class ImageFormat:
    """The stage: a format by Pillow's name for it, and its quality, 1…100, if it has one."""

    name: str
    quality: int | None = None

    def __str__(self) -> str:
        return self.name if self.quality is None else f"{self.name}:{self.quality}"

    @property
    def file_format(self) -> str:
        return self.name.upper()

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        return ImageCodec(self, context.image)


def is_image_codec(spec: CodecSpec) -> bool:
    """Whether it codes pictures, and so fits boundary 0 only."""
    return any(isinstance(stage, ImageFormat) for _, stage in spec.stages)


def require_pillow(spec: str) -> None:
    """MissingExtraError if pictures can't be coded or decoded here."""
    _pillow(spec)


def _parse_png(stage: StageText) -> StageSpec:
    stage.without_arguments()
    return ImageFormat("png")


def _parse_lossy(stage: StageText) -> StageSpec:
    quality = stage.arguments[0] if len(stage.arguments) == 1 else ""
    if not (quality.isascii() and quality.isdecimal() and 1 <= int(quality) <= 100) or quality[0] == "0":
        raise stage.wrong(f"write {stage.name} and a quality of 1 to 100, e.g. {stage.name}:90")
    return ImageFormat(stage.name, int(quality))


KINDS = (
    StageKind("jpeg:90", Slot.FORMAT, "jpeg", _parse_lossy, alone=True),
    StageKind("webp:90", Slot.FORMAT, "webp", _parse_lossy, alone=True),
    StageKind("png", Slot.FORMAT, "png", _parse_png, alone=True),
)
