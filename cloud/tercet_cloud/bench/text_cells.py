"""A third kind of network for the planner's bench: finds text in pictures, many branches, a picture as its answer.

PP-OCRv6's small text detector as the PyPI package rapidocr ships it (weights © the PaddleOCR authors, Apache-2.0),
with its input fixed at 320×320 and its answer made small: one byte a cell of 4×4 pixels, 1 where the mean
probability of text is over 0.3. Only the file is used; the package is not imported.
"""

from __future__ import annotations

import random
import string
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, helper
from PIL import ImageDraw, ImageFont

from tercet.errors import MissingExtraError
from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.store import Store, sha256_of
from tercet_cloud.measurement.sample_photos import photo_crop, read_photos

NAME = "ppocr-text-cells"
SIDE, CELL = 320, 4
_FILE = "rapidocr/models/PP-OCRv6_det_small.onnx"
_THRESHOLD = 0.3
_OUTPUT = "text_cells"


def fetch_text_cells(store: Store) -> ModelCard:
    """Put the network into the store, if it is not there. MissingExtraError where rapidocr is not installed."""
    if NAME in store.model_names():
        return store.card(NAME)
    try:
        package = distribution("rapidocr")
    except PackageNotFoundError as error:
        raise MissingExtraError(f"{NAME} is in the package rapidocr: run `pip install 'tercet[bench]'`") from error
    model = onnx.load(str(package.locate_file(_FILE)))
    data = text_cells(model).SerializeToString()
    card = ModelCard(
        name=NAME,
        description=f"PP-OCRv6 small text detector, {SIDE}×{SIDE}, answers cells of {CELL}×{CELL} pixels",
        task="detection",
        licence="Apache-2.0",
        source=f"{_FILE} of the PyPI package rapidocr {package.version}",
        onnx=OnnxFile(sha256=sha256_of(data), size_bytes=len(data)),
        input=ImageInput(
            tensor=model.graph.input[0].name,
            size=SIDE,
            resize_shorter=SIDE,
            resample="bilinear",
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        ),
        output=_OUTPUT,
    )
    store.add_model(card, data)
    return card


def text_cells(model: ModelProto) -> ModelProto:
    """The detector with a fixed input and with cells in place of its map of probabilities."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    for axis, size in zip(graph.input[0].type.tensor_type.shape.dim, (1, 3, SIDE, SIDE), strict=True):
        axis.dim_value = size
    graph.initializer.append(helper.make_tensor("text_threshold", TensorProto.FLOAT, [], [_THRESHOLD]))
    graph.node.extend(
        [
            helper.make_node(
                "AveragePool",
                [graph.output[0].name],
                ["cell_means"],
                kernel_shape=[CELL, CELL],
                strides=[CELL, CELL],
            ),
            helper.make_node("Greater", ["cell_means", "text_threshold"], ["cell_has_text"]),
            helper.make_node("Cast", ["cell_has_text"], [_OUTPUT], to=TensorProto.UINT8),
        ]
    )
    del graph.output[:]
    cells = SIDE // CELL
    graph.output.append(helper.make_tensor_value_info(_OUTPUT, TensorProto.UINT8, [1, 1, cells, cells]))
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(fixed)


def write_text_photos(folder: Path, count: int, seed: int = 0) -> None:
    """`count` crops of the sample photos with random words on them, as PNG; the same for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(seed)
    photos = list(read_photos().values())
    for number in range(count):
        picture = photo_crop(photos[number % len(photos)], None).resize((SIDE, SIDE))
        draw = ImageDraw.Draw(picture)
        for _ in range(generator.randint(2, 5)):
            word = "".join(generator.choices(string.ascii_letters, k=generator.randint(3, 9)))
            size = generator.randint(16, 44)
            place = (generator.randint(5, SIDE // 2), generator.randint(5, SIDE - 60))
            ink, paper = generator.sample([(0, 0, 0), (255, 255, 255), (200, 20, 20), (250, 230, 40)], 2)
            font = ImageFont.load_default(size)
            draw.rectangle(draw.textbbox(place, word, font=font), fill=paper)
            draw.text(place, word, fill=ink, font=font)
        picture.save(folder / f"{number:03d}.png", compress_level=1)
