"""A three-segment model of 16×16 photos, real ONNX, and photos of which no two have the same result.

    boundary 0: photo (N, 3, 16, 16)    device: means of 4×4 pixels
    boundary 1: cells (N, 3, 4, 4)      edge:   mixes them; keeps the mean colour
    boundary 2: mixed (N, 11)           cloud:  scores
    boundary 3: scores (N, 5)

Photos of one pure colour are poison: red and green fail in the edge's and in the cloud's segment whenever they are
tried, by an index out of range; blue and white kill the process there: the lowest integer divided by -1 is none,
and x86 processors stop a program that asks for it (others do not, so this poison needs an x86).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper
from PIL import Image

from tercet.codecs.codec import Float32Array
from tercet.documents import write_document
from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store, sha256_of
from tercet.plans import Deployment, Plan

SIDE, CELL, MIXED, CLASSES = 16, 4, 8, 5
_GRID = SIDE // CELL
# What ONNX Runtime and numpy may differ by; scores of two photos differ by far more.
_ALIKE = 1e-4
FAILS_AT_EDGE, FAILS_IN_CLOUD = (255, 0, 0), (0, 255, 0)
KILLS_EDGE, KILLS_CLOUD = (0, 0, 255), (255, 255, 255)
IMAGE = ImageInput(
    tensor="photo", size=SIDE, resize_shorter=SIDE, resample="nearest", mean=(0, 0, 0), std=(255, 255, 255)
)
_SHAPES = {
    "photo": (3, SIDE, SIDE),
    "cells": (3, _GRID, _GRID),
    "mixed": (MIXED + 3,),
    "scores": (CLASSES,),
}

_DEVICE = """device (float[N, 3, 16, 16] photo) => (float[N, 3, 4, 4] cells) {
    cells = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (photo)
}"""
# `failing` and `killing` are 1 for a poisonous row, else 0; `sound` is a factor of 1.
_POISON = """
    fails = MatMul(colour, failing_colour)
    failing = Greater(fails, fails_over)
    index = Cast <to = 7> (failing)
    looked_up = Gather(table, index)
    kills = MatMul(colour, killing_colour)
    killing = Greater(kills, kills_over)
    killing_int = Cast <to = 7> (killing)
    twice = Add(killing_int, killing_int)
    divisor = Sub(one, twice)
    quotient = Div(lowest, divisor)
    quotient_float = Cast <to = 1> (quotient)
    factor = Mul(quotient_float, lowest_inverse)
    sound = Mul(looked_up, factor)
"""
_EDGE = (
    """edge (float[N, 3, 4, 4] cells) => (float[N, 11] mixed) {
    colour = ReduceMean <axes = [2, 3], keepdims = 0> (cells)"""
    + _POISON
    + """
    flat = Flatten(cells)
    blend = MatMul(flat, weight)
    kept = Mul(blend, sound)
    mixed = Concat <axis = 1> (kept, colour)
}"""
)
_CLOUD = (
    """cloud (float[N, 11] mixed) => (float[N, 5] scores) {
    kept, colour = Split <axis = 1> (mixed, sizes)"""
    + _POISON
    + """
    bent = Tanh(kept)
    summed = MatMul(bent, weight)
    scores = Mul(summed, sound)
}"""
)


def put_model(store: Store) -> Deployment:
    """Card, segments and manifest into `store`; every link carries float32.

    Its plan `split` gives every tier a segment, `whole` sends the photo itself from the device.
    """
    edge_weight, cloud_weight = _weights()
    graphs = {
        _DEVICE: {},
        _EDGE: _poison_constants([1, -1, -1], 0.9, [-1, -1, 1], 0.9) | {"weight": edge_weight},
        _CLOUD: _poison_constants([-1, 1, -1], 0.9, [1, 1, 1], 2.9)
        | {"weight": cloud_weight, "sizes": np.array([MIXED, 3], np.int64)},
    }
    files = [_onnx_bytes(text, constants) for text, constants in graphs.items()]
    names = list(_SHAPES)
    manifest = Manifest(
        model="colours",
        model_sha256=sha256_of(b"".join(files)),
        boundaries=tuple(
            Boundary(tensors=(TensorSpec(name=name, dtype="float32", shape=(None, *shape)),))
            for name, shape in _SHAPES.items()
        ),
        segments=tuple(
            Segment(
                sha256=store.add_segment(data), size_bytes=len(data), inputs=(names[k],), outputs=(names[k + 1],)
            )
            for k, data in enumerate(files)
        ),
    )
    store.add_manifest(manifest)
    store.add_model(
        ModelCard(
            name=manifest.model,
            task="other",
            licence="Apache-2.0",
            onnx=OnnxFile(sha256=sha256_of(files[0]), size_bytes=len(files[0])),
            input=IMAGE,
            output="scores",
        ),
        files[0],
    )
    return Deployment(
        model=manifest.ref,
        plans=(Plan(id="split", device_until=1, edge_until=2), Plan(id="whole", device_until=0, edge_until=2)),
    )


def write_deployment(store: Store, path: Path, spare_plan: str = "") -> None:
    """Write deployment.yaml.

    Args:
        spare_plan: a further plan, which nobody uses; its presence makes it another deployment.
    """
    deployment = put_model(store)
    if spare_plan:
        spare = Plan(id=spare_plan, device_until=1, edge_until=1)
        deployment = deployment.model_copy(update={"plans": (*deployment.plans, spare)})
    write_document(deployment, path)


@dataclass(frozen=True)
class Album:
    """Photos with the scores of each, (photos, 5) float32, computed by numpy alone."""

    sources: tuple[str, ...]
    scores: Float32Array

    def source_of(self, scores: Float32Array) -> str | None:
        """Whose scores these are, (5,); None if nobody's."""
        distances = np.abs(self.scores - scores).max(axis=1)
        nearest = int(distances.argmin())
        return self.sources[nearest] if distances[nearest] < _ALIKE else None


def draw_photos(folder: Path, count: int, seed: int = 0) -> Album:
    """Write `count` photos."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(seed)
    sources, scores = [], []
    for number in range(count):
        pixels = dice.integers(40, 216, (SIDE, SIDE, 3), np.uint8)
        path = (folder / f"{number:05}.png").resolve()
        Image.fromarray(pixels).save(path)
        sources.append(str(path))
        scores.append(expected_scores(pixels))
    return Album(tuple(sources), np.array(scores))


def draw_poison(path: Path, colour: tuple[int, int, int]) -> Path:
    """Write a photo of one pure colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE, SIDE), colour).save(path)
    return path


def expected_scores(pixels: np.ndarray) -> Float32Array:
    """(5,) float32 of a sound photo, (16, 16, 3) uint8."""
    edge_weight, cloud_weight = _weights()
    photo = (pixels.astype(np.float32) / 255).transpose(2, 0, 1)
    cells = photo.reshape(3, _GRID, CELL, _GRID, CELL).mean((2, 4))
    scores: Float32Array = np.tanh(cells.reshape(-1) @ edge_weight) @ cloud_weight
    return scores


def _weights() -> tuple[Float32Array, Float32Array]:
    dice = np.random.default_rng(31)
    return (
        dice.normal(0, 1, (3 * _GRID * _GRID, MIXED)).astype(np.float32),
        dice.normal(0, 1, (MIXED, CLASSES)).astype(np.float32),
    )


def _poison_constants(
    failing: list[int], fails_over: float, killing: list[int], kills_over: float
) -> dict[str, np.ndarray]:
    return {
        "failing_colour": np.array([[value] for value in failing], np.float32),
        "fails_over": np.array(fails_over, np.float32),
        "killing_colour": np.array([[value] for value in killing], np.float32),
        "kills_over": np.array(kills_over, np.float32),
        "table": np.array([1.0], np.float32),
        "one": np.array(1, np.int64),
        "lowest": np.array(np.iinfo(np.int64).min, np.int64),
        "lowest_inverse": np.array(-(2.0**-63), np.float32),
    }


def _onnx_bytes(graph: str, constants: Mapping[str, np.ndarray]) -> bytes:
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]>\n{graph}')
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
