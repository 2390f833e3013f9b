"""Measuring a cut model on this machine: the profile that the planner computes with.

Everything is measured through `SegmentChain`, as it will run, and in turns: in every round the chain runs once,
segment by segment, then longer single sessions and stretches of the chain. Kernel times come from ONNX Runtime's
own trace of each segment and say only how a segment's time is spread over its kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import onnxruntime as ort

from tercet.codecs.codec import Array
from tercet.errors import InvariantError, SpecError
from tercet.inference.crossing import Crossing
from tercet.inference.interleaved import Effort, Float64Array, MeasuringStopped, Probe, quiet_medians, time_in_turns
from tercet.inference.kernel_trace import KernelTrace, trace_kernels
from tercet.inference.memory_probe import measure_memory
from tercet.inference.profile_times import MeasuredCut, median_error, profile_times
from tercet.inference.sample_inputs import Shapes, sample_inputs
from tercet.inference.segment_chain import DEFAULT_PROVIDERS, SegmentChain
from tercet.inference.stretches import coarser_cuts, find_stretches
from tercet.machine import this_machine
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.profile import Profile, ProfileMemory
from tercet.tiers import Tier
from tercet.wall_clock import REAL_CLOCK

# Shares of the progress bar.
_TRACING, _TIMING = 0.15, 0.8
# A measured time is never taken for nothing.
_LEAST_MS = 1e-6


@dataclass(frozen=True)
class ProfileRequest:
    """What to measure and how.

    Attributes:
        node: name of the machine in the profile.
        shapes: of inputs with sizes that are only known at run time.
        slowdown: the tier emulates a machine so many times slower: all times are measured without and multiplied.
    """

    tier: Tier
    node: str
    threads: int = 1
    providers: Sequence[str] = DEFAULT_PROVIDERS
    shapes: Shapes = field(default_factory=dict)
    effort: Effort = field(default_factory=Effort)
    slowdown: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Measurement:
    """A profile, and how long the further probes took, (probes,) ms, in the same rounds."""

    profile: Profile
    probes_ms: Float64Array


class Profiler:
    """Measures one cut model of a store.

    Raises, when made: NotFoundError, IntegrityError or SpecError for segments that are missing, altered or
    impossible, and SpecError for inputs of unknown size, or that the model fails on.
    """

    def __init__(self, manifest: Manifest, store: Store, request: ProfileRequest) -> None:
        self.manifest = manifest
        self.request = request
        self._store = store
        self.inputs = sample_inputs(manifest.boundaries[0], request.shapes, request.seed)
        self._chain = SegmentChain(manifest, store, threads=request.threads, providers=request.providers)
        self._tensors = self._boundaries()
        self._stretches = find_stretches(store, manifest, threads=request.threads, providers=request.providers)

    def _boundaries(self) -> list[dict[str, Array]]:
        """The tensors at every boundary, from the sample inputs. SpecError if the model does not take those."""
        tensors = [self.inputs]
        try:
            for index in range(len(self.manifest.segments)):
                tensors.append(self._chain.run(tensors[-1], index, index + 1))
        except InvariantError as error:
            raise SpecError(f"{self.manifest.ref} fails on random inputs of these shapes: {error}") from error
        return tensors

    def measure(
        self,
        probes: Sequence[Probe] = (),
        *,
        progress: Callable[[float], None] = lambda share: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Measurement:
        """Measure; blocks for some seconds.

        Args:
            probes: more to time in the same rounds.
            stopped: asked again and again; MeasuringStopped if it says so.
        """
        count = len(self.manifest.segments)
        tensors = self._tensors
        traces = []
        for index in range(count):
            if stopped():
                raise MeasuringStopped("measuring was stopped before it was done")
            traces.append(self._trace(index, tensors[index]))
            progress(_TRACING * (index + 1) / count)
        chained = _chained_stretches(count)
        alone: list[Probe] = [partial(self._chain.run, tensors[k], k, k + 1) for k in range(count)]
        # What a call costs beside its sessions: a chain pays it once, not for every segment.
        calls: list[Probe] = [partial(self._chain.run, tensors[k], k, k) for k in range(count)]
        others: list[Probe] = [
            partial(item.chain.run, tensors[item.start], item.index, item.index + 1) for item in self._stretches
        ]
        others += [partial(self._chain.run, tensors[start], start, stop) for start, stop in chained]
        times_ms = time_in_turns(
            [alone, calls, *([probe] for probe in (*others, *probes))],
            self.request.effort,
            clock_ns=time.thread_time_ns if self._clock == "processor" else time.perf_counter_ns,
            progress=lambda share: progress(_TRACING + _TIMING * share),
            stopped=stopped,
        )
        medians_ms = quiet_medians(times_ms) * self.request.slowdown
        alone_ms, call_ms, single_ms, chained_ms, probes_ms = np.split(
            medians_ms, np.cumsum([count, count, len(self._stretches), len(chained)])
        )
        crossing = Crossing(self.manifest, tensors)
        measured = MeasuredCut(
            [crossing.chain(k, k + 1, ms) for k, ms in enumerate(np.maximum(alone_ms - call_ms, _LEAST_MS))],
            traces,
            [
                (crossing.session(item.start, item.stop, ms), item.fitted)
                for item, ms in zip(self._stretches, single_ms, strict=True)
            ],
            [crossing.chain(*ends, ms) for ends, ms in zip(chained, chained_ms, strict=True)],
        )
        memory = self._memory()
        progress(1.0)
        return Measurement(self._profile(measured, crossing.boundary_bytes, memory), probes_ms)

    @property
    def _clock(self) -> Literal["processor", "wall"]:
        """With one thread, all is computed by the one that calls; then what neighbours take need not be counted."""
        alone = self.request.threads == 1 and tuple(self.request.providers) == DEFAULT_PROVIDERS
        return "processor" if alone else "wall"

    def _trace(self, index: int, tensors: Mapping[str, Array]) -> KernelTrace:
        segment = self.manifest.segments[index]
        return trace_kernels(
            self._store.segment_bytes(segment),
            {name: tensors[name] for name in segment.inputs},
            threads=self.request.threads,
            providers=self.request.providers,
        )

    def _memory(self) -> ProfileMemory:
        """Of the coarsest cut at hand: the fewer sessions, the nearer to what a tier runs."""
        coarsest = next(iter(coarser_cuts(self._store, self.manifest)), self.manifest)
        return measure_memory(
            self._store,
            coarsest.ref,
            threads=self.request.threads,
            providers=self.request.providers,
            shapes=self.request.shapes,
        )

    def _profile(self, measured: MeasuredCut, boundary_bytes: tuple[int, ...], memory: ProfileMemory) -> Profile:
        times = profile_times(measured)
        return Profile(
            model=self.manifest.model,
            model_sha256=self.manifest.model_sha256,
            cut=self.manifest.ref,
            tier=self.request.tier,
            node=self.request.node,
            hardware=this_machine(),
            runtime=f"onnxruntime {ort.__version__}",
            providers=tuple(self.request.providers),
            threads=self.request.threads,
            slowdown=self.request.slowdown,
            measured_at=REAL_CLOCK.now_iso(),
            boundaries=tuple(
                tuple(spec.name for spec in boundary.tensors) for boundary in self.manifest.boundaries
            ),
            shapes={name: array.shape for name, array in self.inputs.items()},
            boundary_bytes=boundary_bytes,
            clock=self._clock,
            segments=times.segments,
            session_ms=times.session_ms,
            crossing_ms_per_mb=times.crossing_ms_per_mb,
            whole_ms=times.whole_ms,
            spans=times.spans,
            median_error=median_error(times.spans),
            memory=memory,
        )


def _chained_stretches(count: int) -> list[tuple[int, int]]:
    """Stretches that are run as chains: the whole first, then prefixes and others of some lengths."""
    marks = sorted({round(count * part) for part in (0, 0.25, 0.5, 0.75, 1)})
    pairs = [(0, count), *((0, mark) for mark in marks), *((mark, count) for mark in marks)]
    pairs.append((marks[len(marks) // 4], marks[(3 * len(marks)) // 4]))
    return list(dict.fromkeys((start, stop) for start, stop in pairs if start < stop))
