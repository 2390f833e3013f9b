"""Pictures with known words on them, drawn with fonts that packages ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import captcha
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tercet.steps.images import Pixels

# Droid Sans Mono, Apache-2.0.
MONO = Path(captcha.__file__).parent / "data" / "DroidSansMono.ttf"
Written = tuple[str, int, tuple[int, int]]


def written(
    size: tuple[int, int],
    words: Sequence[Written],
    *,
    mono: bool = False,
    ink: tuple[int, int, int] = (20, 20, 30),
    paper: tuple[int, int, int] = (250, 248, 240),
) -> Pixels:
    """A page of `size` (width, height) with each of `words`: text, height of the font, place of its upper left."""
    page = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(page)
    for text, height, place in words:
        font = ImageFont.truetype(str(MONO), height) if mono else ImageFont.load_default(height)
        draw.text(place, text, fill=ink, font=font)
    return np.asarray(page)
