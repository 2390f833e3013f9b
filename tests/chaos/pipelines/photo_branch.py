"""The part of a pipeline with real pictures and a real network: is each of some strips of a photo upside down?

The network is PP-OCR's, which tells whether a line of text stands on its head. What it should say is computed here
from the photo by Pillow and ONNX Runtime alone, past everything that a pipeline does.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from chaos.pipelines.steps import LINE_COLUMNS, LINE_ROWS, line_tensor
from tercet.models.store import Store
from tercet_cloud.measurement.sample_photos import read_photos
from tercet_cloud.models.catalog import fetch_model
from tercet_cloud.models.packaged_models import LINE_ORIENTATION

PHOTOS = ("chelsea", "coffee", "astronaut")
# Enlarged so that the picture is over a megabyte: such results lie in the folder, not in the database.
ROWS = 640


@dataclass(frozen=True)
class PhotoBranch:
    """One photo and its strips, as left and top of each."""

    photo: str
    strips: tuple[tuple[int, int], ...]

    @classmethod
    def drawn(cls, dice: random.Random) -> PhotoBranch:
        strips = tuple(
            (dice.randrange(ROWS - LINE_COLUMNS), dice.randrange(ROWS - LINE_ROWS))
            for _ in range(dice.randint(2, 5))
        )
        return cls(dice.choice(PHOTOS), strips)

    def nodes(self) -> dict[str, Mapping[str, Any]]:
        """Nodes from `input.photo` to `turned`, a number for each strip."""
        boxes = [[left, top, left + LINE_COLUMNS, top + LINE_ROWS] for left, top in self.strips]
        return {
            "picture": {"builtin": "decode", "needs": {"data": "input.photo"}},
            "large": {
                "builtin": "resize",
                "needs": {"image": "picture"},
                "options": {"shortest": ROWS, "enlarge": True, "resample": "nearest"},
            },
            "lines": {"builtin": "crop", "needs": {"image": "large"}, "options": {"boxes": boxes}},
            "tensors": {
                "call": "chaos.pipelines.steps:line_tensors",
                "needs": {"lines": "lines", "trace": "input.trace"},
            },
            "judge": {"model": LINE_ORIENTATION, "needs": {"x": "tensors"}, "map": "x"},
            "turned": {
                "call": "chaos.pipelines.steps:turned",
                "needs": {"answers": "judge", "trace": "input.trace"},
            },
        }

    @property
    def executions(self) -> dict[str, int]:
        """How often each of its steps that leave a trace runs, undisturbed."""
        return {"tensors": 1, "turned": 1}

    def expected(self, store: Path) -> list[float]:
        """What `turned` must be."""
        image = _photo(self.photo)
        scale = ROWS / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        pixels = np.asarray(image.resize(size, Image.Resampling.NEAREST))
        session = _network(store)
        name = session.get_inputs()[0].name
        answers = []
        for left, top in self.strips:
            tensor = line_tensor(pixels[top : top + LINE_ROWS, left : left + LINE_COLUMNS])
            answers.append(float(session.run(None, {name: tensor})[0][0, 1]))
        return answers


def photo_file(name: str, folder: Path) -> Path:
    """The photo as a PNG file in `folder`."""
    path = folder / f"{name}.png"
    if not path.exists():
        file = BytesIO()
        _photo(name).save(file, "PNG")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())
    return path


def put_network(store: Path) -> None:
    """The network, into a store of models."""
    fetch_model(Store(store), LINE_ORIENTATION)


@cache
def _photo(name: str) -> Image.Image:
    return read_photos([name])[name]


@cache
def _network(store: Path) -> onnxruntime.InferenceSession:
    held = Store(store)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(held.model_bytes(held.card(LINE_ORIENTATION)), options)
