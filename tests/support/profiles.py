"""Made-up profiles: right by their contract, measured nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from tercet.identifiers import ModelRef
from tercet.profile import Hardware, KernelTime, Profile, ProfileMemory, SegmentTime, SpanTime
from tercet.tiers import Tier


def made_up_profile(
    *,
    node: str = "cam-1",
    model: str = "tiny",
    model_sha256: str = "0" * 64,
    digest: str = "0123456789ab",
    boundaries: Sequence[Sequence[str]] = (("x",), ("y",)),
    kernels: Sequence[Sequence[KernelTime]] = ((KernelTime(node="n", op_type="Conv", ms=2.0),),),
) -> Profile:
    """One kernel list for each segment; one span, predicted 10 % too long."""
    return Profile(
        model=model,
        model_sha256=model_sha256,
        cut=ModelRef(f"{model}@{digest}"),
        tier=Tier.DEVICE,
        node=node,
        hardware=Hardware(processor="made up", cores=1, memory_bytes=1 << 30),
        runtime="none",
        providers=("CPUExecutionProvider",),
        threads=1,
        measured_at="2026-01-01T00:00:00+00:00",
        boundaries=tuple(map(tuple, boundaries)),
        segments=tuple(
            SegmentTime(ms=sum(kernel.ms for kernel in some) + 0.1, kernels=tuple(some)) for some in kernels
        ),
        session_ms=0.1,
        whole_ms=sum(kernel.ms for some in kernels for kernel in some),
        spans=(SpanTime(start=0, stop=len(kernels), measured_ms=2.0, predicted_ms=2.2),),
        median_error=0.1,
        memory=ProfileMemory(loaded_bytes=1 << 20, weights_bytes=1 << 19),
    )
