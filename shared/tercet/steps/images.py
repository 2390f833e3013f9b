"""Built-in steps on pictures: decode a file, resize, cut boxes out. A picture is (rows, columns, 3) uint8, RGB.

Needs Pillow. Peers may send any file, so only common kinds are read, and a file's claim of its size is held against
a limit before its pixels are decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from tercet.errors import InputError, SpecError

Pixels = npt.NDArray[np.uint8]
Picture = Annotated[Pixels, "image"]

MAX_PIXELS = 64_000_000
MAX_SIDE = 16_384
# Pillow reads many more kinds, some by starting other programs.
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_SHOWN_BYTES = 8


def decode(data: bytes) -> Picture:
    """The picture in a BMP, JPEG, PNG, TIFF or WebP file, turned upright if its camera says how.

    What is transparent becomes white. Of a file with several pictures the first.

    Raises:
        InputError: another kind of file, a broken one, or one of more than 64 million pixels.
    """
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"a picture of {image.width}×{image.height} is over {MAX_PIXELS:,} pixels: send a smaller one"
                )
            return _rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        start = bytes(data[:_SHOWN_BYTES]).hex(" ") or "nothing"
        raise InputError(
            f"{len(data):,} bytes that begin with {start} are no picture ({', '.join(_FORMATS)})"
        ) from error
    except Exception as error:  # Pillow's readers have no common error: OSError, SyntaxError, struct.error, …
        raise InputError(f"a picture of {len(data):,} bytes cannot be read: {error}") from error


def resize(
    image: Picture,
    longest: int | None = None,
    shortest: int | None = None,
    width: int | None = None,
    height: int | None = None,
    enlarge: bool = False,
    resample: str = "bilinear",
) -> Picture:
    """The picture in another size: exactly one of `longest`, `shortest`, or `width` with `height` says which.

    Args:
        longest: what the longer side shall have, in pixels; the shape is kept.
        shortest: what the shorter side shall have; the shape is kept.
        width, height: both sides; the shape may change.
        enlarge: with `longest` and `shortest`, whether smaller pictures grow.
        resample: nearest, bilinear, bicubic or lanczos.
    Raises:
        SpecError: options that say no size or two, or an unknown way to resample.
    """
    if resample not in _RESAMPLE:
        raise SpecError(f"resize: resample is one of {', '.join(_RESAMPLE)}, not {resample!r}")
    rows, columns = image.shape[:2]
    size = _wanted_size((columns, rows), longest, shortest, width, height, enlarge)
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise SpecError(f"resize: {size[0]}×{size[1]} pixels; a side has 1 to {MAX_SIDE:,}")
    if size == (columns, rows):
        return image
    return np.asarray(Image.fromarray(image).resize(size, _RESAMPLE[resample]))


def crop(image: Picture, boxes: list[Any], margin_px: int = 0) -> Annotated[list[Pixels], "list[image]"]:
    """One picture for every box, in order.

    Args:
        boxes: each either left, top, right, bottom in pixels, or four corners (x, y), clockwise from the top left
            one, of any quadrilateral, which comes out as a rectangle. Parts outside of the picture are left out.
        margin_px: so much more on every side of upright boxes.
    Raises:
        InputError: a box of another shape, one that is not convex, or one that holds no pixel; says which.
    """
    found = []
    for number, box in enumerate(boxes):
        try:
            values = np.asarray(box, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"crop: box {number} is {box!r:.60}, not numbers") from error
        if values.shape not in ((4,), (4, 2)) or not np.isfinite(values).all():
            raise InputError(
                f"crop: box {number} has shape {values.shape}; give 4 numbers or 4 corners of 2, all finite"
            )
        part = _rectangle(image, values, margin_px) if values.ndim == 1 else _quadrilateral(image, values)
        if part.size == 0:
            size = f"{image.shape[1]}×{image.shape[0]}"
            raise InputError(f"crop: box {number} is not convex or holds no pixel of a picture of {size}")
        found.append(part)
    return found


def _rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16"):
        # Pillow would cut 16 bits off at 255 instead of scaling them.
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _wanted_size(
    size: tuple[int, int],
    longest: int | None,
    shortest: int | None,
    width: int | None,
    height: int | None,
    enlarge: bool,
) -> tuple[int, int]:
    exact = width is not None and height is not None
    given = [name for name, side in (("longest", longest), ("shortest", shortest)) if side is not None]
    if (width is None) != (height is None) or len(given) + exact != 1:
        raise SpecError("resize: give one of longest, shortest, or width and height")
    if width is not None and height is not None:
        return width, height
    scale = shortest / min(size) if shortest is not None else (longest or 0) / max(size)
    if scale > 1 and not enlarge:
        return size
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _rectangle(image: Pixels, box: npt.NDArray[np.float64], margin_px: int) -> Pixels:
    rows, columns = image.shape[:2]
    left, top = np.floor(box[:2] + 1e-6) - margin_px
    right, bottom = np.ceil(box[2:] - 1e-6) + margin_px
    part = image[_within(top, rows) : _within(bottom, rows), _within(left, columns) : _within(right, columns)]
    return np.ascontiguousarray(part)


def _within(value: float, end: int) -> int:
    return int(min(max(value, 0), end))


def _quadrilateral(image: Pixels, corners: npt.NDArray[np.float64]) -> Pixels:
    rows, columns = image.shape[:2]
    corners = np.clip(corners, 0, (columns, rows))
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    if not ((turns > 0).all() or (turns < 0).all()):
        return image[:0, :0]
    sides = np.linalg.norm(edges, axis=1)
    width, height = int(max(sides[0], sides[2])), int(max(sides[1], sides[3]))
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return image[:0, :0]
    coefficients = _perspective([(0, 0), (width, 0), (width, height), (0, height)], corners)
    cut = Image.fromarray(image).transform(
        (width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(cut)


def _perspective(places: Sequence[tuple[float, float]], sources: npt.NDArray[np.float64]) -> list[float]:
    """The eight numbers by which Pillow finds the source of every pixel, from four places and their sources."""
    rows, values = [], []
    for (x, y), (u, v) in zip(places, sources.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solution: list[float] = np.linalg.solve(np.array(rows), np.array(values)).tolist()
    return solution
