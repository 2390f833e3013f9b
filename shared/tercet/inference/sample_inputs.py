"""Seeded random tensors to measure a model with, where no real ones are at hand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from tercet.codecs.codec import Array
from tercet.errors import SettingsError, SpecError
from tercet.limits import MAX_TENSOR_BYTES, check_tensor_bytes
from tercet.models.manifest import Boundary, TensorSpec

Shapes = Mapping[str, tuple[int, ...]]


def sample_inputs(boundary: Boundary, shapes: Shapes, seed: int = 0) -> dict[str, Array]:
    """Random tensors for a boundary.

    Args:
        shapes: by tensor name, for those with free axes; a free axis 0 needs none and is 1.
    Returns:
        floats about standard normal; integers 0 or 1, which are valid as indices and as masks.
    Raises:
        SpecError: a free axis that no shape is given for, or a shape that is not the tensor's.
        FrameTooLargeError: more than a frame may hold.
    """
    if unknown := [name for name in shapes if name not in boundary.names]:
        raise SpecError(f"--shape {unknown[0]}: the model's inputs are {', '.join(sorted(boundary.names))}")
    generator = np.random.default_rng(seed)
    return {spec.name: _sample(spec, _shape(spec, shapes), generator) for spec in boundary.tensors}


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by input from texts like INPUT=1x3x224x224; SettingsError for anything else."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        if not name or not re.fullmatch(r"\d{1,9}([x×]\d{1,9})*", sizes):
            raise SettingsError(f"shape {text!r}: expected INPUT=1x3x224x224, the sizes of all its axes")
        shape = tuple(int(size) for size in re.split("[x×]", sizes))
        if 0 in shape:
            raise SettingsError(f"shape {text!r}: every size must be at least 1")
        if name in shapes:
            raise SettingsError(f"shape {text!r}: {name} has another already")
        shapes[name] = shape
    return shapes


def _shape(spec: TensorSpec, shapes: Shapes) -> tuple[int, ...]:
    declared = "x".join("?" if size is None else str(size) for size in spec.shape)
    if spec.name in shapes:
        given = shapes[spec.name]
        fits = len(given) == len(spec.shape) and all(
            wanted in (None, size) for wanted, size in zip(spec.shape, given, strict=True)
        )
        if not fits:
            raise SpecError(f"--shape {spec.name}={'x'.join(map(str, given))}: the model declares {declared}")
        return given
    if any(size is None for size in spec.shape[1:]):
        raise SpecError(
            f"input {spec.name!r} is {declared}, with sizes that are only known at run time: name those to "
            f"measure, --shape {spec.name}={declared.replace('?', '1', 1)} with numbers for '?'"
        )
    return tuple(1 if size is None else size for size in spec.shape)


def _sample(spec: TensorSpec, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    dtype = np.dtype(spec.dtype)
    check_tensor_bytes(min(math.prod(shape) * dtype.itemsize, MAX_TENSOR_BYTES * 1000), f"input {spec.name!r}")
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)
