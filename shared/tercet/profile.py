"""A profile: what one machine was measured to need for one model. Written by `tercet profile`, read by the planner.

It holds measurements, not conclusions: the planner derives times of operations from it (`planner.op_times`).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from tercet.documents import Document
from tercet.identifiers import ModelRef, Name, Sha256
from tercet.tiers import Tier

PositiveMs = Annotated[FiniteFloat, Field(ge=0)]


class Hardware(Document):
    """The machine, in words and numbers."""

    processor: str
    cores: Annotated[int, Field(ge=1)]
    memory_bytes: Annotated[int, Field(ge=0)]


class KernelTime(Document):
    """One ONNX Runtime kernel as its profiler names it: the node after optimisation, not the model's own."""

    node: str
    op_type: str
    ms: PositiveMs


class SegmentTime(Document):
    """One segment of the profiled cut: its median time alone, and the kernels in it."""

    ms: PositiveMs
    kernels: tuple[KernelTime, ...]


class SpanTime(Document):
    """A chain of segments [start, stop) as measured, and as predicted from the segments' calibrated times."""

    start: Annotated[int, Field(ge=0)]
    stop: Annotated[int, Field(ge=1)]
    measured_ms: PositiveMs
    predicted_ms: PositiveMs


class ProfileMemory(Document):
    """Bytes: what the process grew by when everything was loaded and had run, and the weights' own size."""

    loaded_bytes: Annotated[int, Field(ge=0)]
    weights_bytes: Annotated[int, Field(ge=0)]


class Profile(Document):
    """One model on one machine.

    Attributes:
        cut: the cut model that was measured, segment by segment.
        boundaries: tensor names at each of its boundaries, 0 … len(segments).
        session_ms: what one more ONNX Runtime session in a chain costs beside its kernels.
        whole_ms: all segments in one chain, median.
        spans: prefixes, and stretches that the calibration did not see.
        median_error: of |predicted - measured| / measured over `spans`.
        slowdown: 1, or by how much the runtime was slowed on purpose (emulation).
    """

    format: Literal[1] = 1
    model: Name
    model_sha256: Sha256
    cut: ModelRef
    tier: Tier
    node: str
    hardware: Hardware
    runtime: str
    providers: tuple[str, ...]
    threads: Annotated[int, Field(ge=1)]
    measured_at: str
    slowdown: Annotated[FiniteFloat, Field(ge=1)] = 1.0
    boundaries: tuple[tuple[str, ...], ...]
    segments: Annotated[tuple[SegmentTime, ...], Field(min_length=1)]
    session_ms: PositiveMs
    whole_ms: PositiveMs
    spans: tuple[SpanTime, ...]
    median_error: Annotated[FiniteFloat, Field(ge=0)]
    memory: ProfileMemory

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.boundaries) != len(self.segments) + 1:
            raise ValueError(f"{len(self.segments)} segments need {len(self.segments) + 1} boundaries")
        return self
