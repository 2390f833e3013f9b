"""The manifest of a cut model: boundaries, and the segments between them by content address.

Segment k turns boundary k into boundary k+1. Boundary 0 holds the model's inputs, the last one its outputs.
A tensor that is in both boundaries of a segment and is not among its outputs is carried past it untouched.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tercet.documents import Document
from tercet.identifiers import ModelRef, Name, Sha256

DIGEST_CHARS = 12


class TensorSpec(Document):
    """A tensor at a boundary. `shape` has None where the size is only known at run time."""

    name: Annotated[str, Field(min_length=1)]
    dtype: Literal["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool"]
    shape: tuple[Annotated[int, Field(ge=0)] | None, ...]


class Boundary(Document):
    """The tensors that cross at one place, in a fixed order."""

    tensors: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(tensor.name for tensor in self.tensors)


class Segment(Document):
    """One ONNX file, and which tensors it takes and gives."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0)]
    inputs: tuple[str, ...]
    outputs: Annotated[tuple[str, ...], Field(min_length=1)]


class Manifest(Document):
    """A model cut into `len(segments)` parts."""

    format: Literal[1] = 1
    model: Name
    model_sha256: Sha256
    boundaries: Annotated[tuple[Boundary, ...], Field(min_length=2)]
    segments: Annotated[tuple[Segment, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.boundaries) != len(self.segments) + 1:
            raise ValueError(f"{len(self.segments)} segments need {len(self.segments) + 1} boundaries")
        for index, boundary in enumerate(self.boundaries):
            if len(boundary.names) != len(boundary.tensors):
                raise ValueError(f"boundary {index} has two tensors of the same name")
        for index, segment in enumerate(self.segments):
            here, after = self.boundaries[index].names, self.boundaries[index + 1].names
            if missing := set(segment.inputs) - here:
                raise ValueError(f"segment {index} needs {sorted(missing)}, not in boundary {index}")
            if unmade := after - here - set(segment.outputs):
                raise ValueError(f"boundary {index + 1} has {sorted(unmade)}, which nothing gives")
        return self

    @cached_property
    def sha256(self) -> str:
        """The manifest's own address: sha256 of its JSON with sorted keys and no spaces."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def ref(self) -> ModelRef:
        """How frames name this cut model: "name@" and the first 12 hex digits of the address."""
        return ModelRef(f"{self.model}@{self.sha256[:DIGEST_CHARS]}")

    @cached_property
    def batchable(self) -> bool:
        """Whether every boundary tensor has a free first axis, so that frames can share a run."""
        return all(
            tensor.shape and tensor.shape[0] is None for boundary in self.boundaries for tensor in boundary.tensors
        )

    def to_bytes(self) -> bytes:
        data = self.model_dump(mode="json")
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
