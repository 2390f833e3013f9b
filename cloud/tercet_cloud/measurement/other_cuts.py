"""Judging a profile by single sessions at cuts that it has not seen, predicted from times of operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tercet.codecs.codec import Array
from tercet.inference.interleaved import Probe
from tercet.inference.segment_chain import SegmentChain
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.profile import Profile, SliceTime
from tercet_cloud.models.boundaries import Cut, end_of, start_of
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.profiling_cut import other_cuts
from tercet_cloud.models.slicing import slice_model
from tercet_cloud.planner.costs.op_times import operation_times_ms


@dataclass(frozen=True)
class OtherSlice:
    """One session between two cuts: segment `index` of `chain`, and what it takes and gives."""

    here: Cut
    after: Cut
    chain: SegmentChain
    index: int
    inputs: dict[str, Array]
    crossing_bytes: int

    @property
    def probe(self) -> Probe:
        return partial(self.chain.run, self.inputs, self.index, self.index + 1)


def slice_elsewhere(
    graph: OnnxGraph,
    profiled: Manifest,
    inputs: dict[str, Array],
    scratch: Store,
    *,
    threads: int,
    providers: Sequence[str],
) -> list[OtherSlice]:
    """Slices of the model between cuts that are not those of `profiled`; files go to `scratch`."""
    known = {boundary.names for boundary in profiled.boundaries}
    cuts = [
        cut
        for cut in other_cuts(graph, {name: array.shape for name, array in inputs.items()})
        if frozenset(cut.tensors) not in known
    ]
    slices: list[OtherSlice] = []
    # Two cuts each time, so that there are beginnings, middles and ends of several lengths.
    for some in (cuts[0::2], cuts[1::2]):
        if some:
            manifest, files = slice_model(graph, profiled.model, some)
            for data in files:
                scratch.add_segment(data)
            chain = SegmentChain(manifest, scratch, threads=threads, providers=providers)
            slices += _slices(chain, [start_of(graph), *some, end_of(graph)], inputs)
    return slices


def predict_slices(
    profile: Profile, graph: OnnxGraph, slices: Sequence[OtherSlice], measured_ms: Sequence[float]
) -> tuple[SliceTime, ...]:
    """What was measured beside what the profile says."""
    op_ms = operation_times_ms(profile, graph)
    times = []
    for item, ms in zip(slices, measured_ms, strict=True):
        ends_ms = profile.session_ms + profile.crossing_ms_per_mb * item.crossing_bytes / 1e6
        own_ms = sum(float(op_ms[index]) for index in item.after.before - item.here.before)
        times.append(
            SliceTime(
                start=item.here.tensors,
                stop=item.after.tensors,
                measured_ms=float(ms),
                predicted_ms=ends_ms + own_ms,
            )
        )
    return tuple(times)


def _slices(chain: SegmentChain, places: Sequence[Cut], inputs: dict[str, Array]) -> list[OtherSlice]:
    slices, current = [], inputs
    for index in range(len(places) - 1):
        given = chain.run(current, index, index + 1)
        segment = chain.manifest.segments[index]
        taken, made = (current[name] for name in segment.inputs), (given[name] for name in segment.outputs)
        crossing_bytes = sum(array.nbytes for array in (*taken, *made))
        slices.append(OtherSlice(places[index], places[index + 1], chain, index, current, crossing_bytes))
        current = given
    return slices
