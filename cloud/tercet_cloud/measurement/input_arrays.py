"""Frames for models that take tensors: from an NPZ file, or made-up numbers of the declared shapes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Array
from tercet.errors import InputError
from tercet.models.manifest import TensorSpec
from tercet_cloud.measurement.input_shapes import Shape, shape_text
from tercet_cloud.measurement.split_runner import Frame
from tercet_cloud.models.graph import OnnxGraph

LABELS = "labels"


def read_frames(path: Path, graph: OnnxGraph) -> tuple[tuple[Frame, ...], npt.NDArray[np.int64] | None]:
    """All frames of an NPZ file, and their labels if it has an array `labels`.

    The file has one array for each input, by its name. The first axis counts frames; it may stand before all axes
    of the input, or take the place of its first.

    Raises:
        InputError: not such a file, or arrays that are not what the model takes.
    """
    arrays = _read_npz(path)
    labels = arrays.pop(LABELS, None) if LABELS not in graph.inputs else None
    if arrays.keys() != set(graph.inputs):
        raise InputError(
            f"{path} has arrays {', '.join(sorted(arrays)) or 'of no name'}; the model's inputs are "
            f"{', '.join(graph.inputs)} (and `{LABELS}`, if there are any)"
        )
    by_input = {name: _frames_of(path, arrays[name], graph.types.spec(name)) for name in graph.inputs}
    counts = {name: len(frames) for name, frames in by_input.items()}
    if labels is not None:
        counts[LABELS] = len(labels) if labels.ndim else 0
        if labels.dtype.kind not in "iu":
            raise InputError(f"{path}: {LABELS} are {labels.dtype}, they must be whole numbers")
    if len(set(counts.values())) != 1 or not min(counts.values()):
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"{path}: every array needs the same number of frames, at least one; there are {listed}")
    frames = zip(*by_input.values(), strict=True)
    whole_numbers = None if labels is None else labels.astype(np.int64)
    return tuple(dict(zip(by_input, frame, strict=True)) for frame in frames), whole_numbers


def random_frames(graph: OnnxGraph, shapes: Mapping[str, Shape], count: int, seed: int) -> tuple[Frame, ...]:
    """`count` frames: floats are standard normal, indices from all of the table they look up, the rest is ones."""
    random = np.random.default_rng(seed)
    return tuple(
        {name: _random_array(graph, name, shape, random) for name, shape in shapes.items()} for _ in range(count)
    )


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path} is no NPZ file: write it with numpy.savez")
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as an NPZ file: {error}") from error


def _frames_of(path: Path, array: Array, spec: TensorSpec) -> list[Array]:
    if array.dtype != np.dtype(spec.dtype):
        raise InputError(f"{path}: {spec.name} is {array.dtype}, the model takes {spec.dtype}")
    if array.ndim == len(spec.shape) + 1:
        frames = list(array)
    elif array.ndim == len(spec.shape) and array.ndim:
        frames = [array[index : index + 1] for index in range(len(array))]
    else:
        frames = []
    fits = frames and all(size in (None, found) for size, found in zip(spec.shape, frames[0].shape, strict=True))
    if not fits:
        raise InputError(
            f"{path}: {spec.name} is {shape_text(array.shape)}; frames of {shape_text(spec.shape)} are expected, "
            "and an axis before them that counts the frames"
        )
    return [np.ascontiguousarray(frame) for frame in frames]


def _random_array(graph: OnnxGraph, name: str, shape: Shape, random: np.random.Generator) -> Array:
    dtype = np.dtype(graph.types.spec(name).dtype)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    if rows := _rows_looked_up(graph, name):
        return random.integers(0, min(rows, np.iinfo(dtype).max), shape, dtype=dtype)
    return np.ones(shape, dtype)


def _rows_looked_up(graph: OnnxGraph, name: str) -> int:
    """The rows of the smallest constant table that this input is an index into; 0 if there is none."""
    sizes = [
        (graph.types.shape(node.input[0]) or (0,))[0] or 0
        for node in (graph.operations[index].node for index in graph.consumers.get(name, ()))
        if node.op_type == "Gather" and node.input[1] == name and graph.is_constant(node.input[0])
    ]
    return min(sizes, default=0)
