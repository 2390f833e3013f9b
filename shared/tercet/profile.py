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
# Profiles are reported by peers: no text of theirs is longer than these.
Text = Annotated[str, Field(max_length=256)]
CutRef = Annotated[ModelRef, Field(max_length=128, pattern=r"^[a-z0-9][a-z0-9._-]*@[0-9a-f]{1,64}$")]
TensorName = Annotated[str, Field(min_length=1, max_length=1024)]


class Hardware(Document):
    """The machine, in words and numbers."""

    processor: Text
    cores: Annotated[int, Field(ge=1)]
    memory_bytes: Annotated[int, Field(ge=0)]


class KernelTime(Document):
    """One ONNX Runtime kernel as its profiler names it: the node after optimisation, not the model's own."""

    node: Annotated[str, Field(max_length=1024)]
    op_type: Text
    ms: PositiveMs


class SegmentTime(Document):
    """One segment of the profiled cut.

    Attributes:
        ms: its median time as a session of its own, in a chain of such.
        kernels: calibrated so that their sum is what the segment adds to a session that computes more than it;
            changes of memory layout at its two ends are left out.
    """

    ms: PositiveMs
    kernels: Annotated[tuple[KernelTime, ...], Field(min_length=1)]

    @property
    def kernel_ms(self) -> float:
        """The segment's calibrated time without the session's own."""
        return sum(kernel.ms for kernel in self.kernels)


class SpanTime(Document):
    """A stretch of segments [start, stop) as measured, and as predicted from the segments' calibrated times.

    Attributes:
        sessions: how many ONNX Runtime sessions ran it: 1 if it was one file, else one a segment.
        fitted: whether the calibration saw this measurement.
    """

    start: Annotated[int, Field(ge=0)]
    stop: Annotated[int, Field(ge=1)]
    sessions: Annotated[int, Field(ge=1)] = 1
    fitted: bool = False
    measured_ms: PositiveMs
    predicted_ms: PositiveMs


class SliceTime(Document):
    """One session over a stretch that begins or ends inside segments; predicted from times of operations.

    Attributes:
        start, stop: names of the tensors at its two boundaries.
    """

    start: Annotated[tuple[TensorName, ...], Field(min_length=1)]
    stop: Annotated[tuple[TensorName, ...], Field(min_length=1)]
    measured_ms: PositiveMs
    predicted_ms: PositiveMs


class ProfileMemory(Document):
    """Bytes, measured in a process of its own.

    Attributes:
        runtime_bytes: resident with the runtime imported and nothing loaded.
        loaded_bytes: what that grew by when everything was loaded and had run.
        weights_bytes: size of the segments' files.
    """

    runtime_bytes: Annotated[int, Field(ge=0)] = 0
    loaded_bytes: Annotated[int, Field(ge=0)]
    weights_bytes: Annotated[int, Field(ge=0)]


class Profile(Document):
    """One model on one machine.

    Attributes:
        cut: the cut model that was measured, segment by segment.
        boundaries: tensor names at each of its boundaries, 0 … len(segments).
        shapes: of the model's inputs as they were measured.
        boundary_bytes: raw bytes of the tensors at each boundary, as measured.
        clock: "processor" time of the computing thread, which neighbours do not lengthen; "wall" time where several
            threads or an accelerator compute.
        session_ms: what one more ONNX Runtime session in a chain costs beside its kernels.
        crossing_ms_per_mb: what a session costs besides per 10^6 raw bytes that it takes or gives.
        whole_ms: all segments in one chain, median.
        spans: what the calibration was fitted to, and stretches that it did not see.
        slices: single sessions at other cuts; only where the model itself was at hand.
        median_error: of |predicted - measured| / measured over all that the calibration did not see.
        slowdown: 1, or by how much the runtime was slowed on purpose (emulation); all times include it.
    """

    format: Literal[1] = 1
    model: Name
    model_sha256: Sha256
    cut: CutRef
    tier: Tier
    node: Name
    hardware: Hardware
    runtime: Text
    providers: tuple[Text, ...]
    threads: Annotated[int, Field(ge=1)]
    measured_at: Text
    slowdown: Annotated[FiniteFloat, Field(ge=1)] = 1.0
    boundaries: tuple[tuple[TensorName, ...], ...]
    shapes: dict[TensorName, tuple[Annotated[int, Field(ge=0)], ...]] = Field(default_factory=dict)
    boundary_bytes: tuple[Annotated[int, Field(ge=0)], ...] = ()
    clock: Literal["processor", "wall"] = "wall"
    segments: Annotated[tuple[SegmentTime, ...], Field(min_length=1)]
    session_ms: PositiveMs
    crossing_ms_per_mb: PositiveMs = 0.0
    whole_ms: PositiveMs
    spans: tuple[SpanTime, ...]
    slices: tuple[SliceTime, ...] = ()
    median_error: Annotated[FiniteFloat, Field(ge=0)]
    memory: ProfileMemory

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.boundaries) != len(self.segments) + 1:
            raise ValueError(f"{len(self.segments)} segments need {len(self.segments) + 1} boundaries")
        if self.cut.partition("@")[0] != self.model:
            raise ValueError(f"{self.cut} is not a cut of {self.model}")
        if self.boundary_bytes and len(self.boundary_bytes) != len(self.boundaries):
            raise ValueError(f"{len(self.boundaries)} boundaries need as many boundary_bytes")
        for span in self.spans:
            if not span.start < span.stop <= len(self.segments):
                raise ValueError(
                    f"there is no stretch {span.start} to {span.stop} of {len(self.segments)} segments"
                )
        return self
