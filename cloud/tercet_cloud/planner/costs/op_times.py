"""Times of operations from a profile: what each adds to a session, on the machine that was measured.

A profile has times of kernels, each of which computes one operation or several that the runtime has fused. A fused
kernel bears the name of its last operation's output, or of one of its nodes; its time is divided among its
operations by their work, so that a cut inside it is not free.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from tercet.errors import SpecError
from tercet.profile import KernelTime, Profile
from tercet_cloud.models.boundaries import boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.profiling_cut import FUSED_WITH_PRODUCER, operation_work
from tercet_cloud.models.tensor_types import TensorTypes
from tercet_cloud.planner.cuts.linear_cost import Float64Array

# What the runtime appends to the name of the tensor or node that a kernel gives or stands for.
_SUFFIXES = ("_nchwc", "_transpose", "/MatMulAddFusion", "_MatMulAddFusion", "_kernel", "_quant")
_PREFIXES = ("fused ", "fused_")


def operation_times_ms(profile: Profile, graph: OnnxGraph) -> Float64Array:
    """(operations,) ms of each operation of the graph, none negative.

    Their sum over the operations of a segment is the segment's calibrated time.

    Raises:
        SpecError: the profile is of another model.
    """
    if profile.model_sha256 != graph.sha256:
        raise SpecError(
            f"the profile is of another {profile.model} (sha256 {profile.model_sha256[:12]}…, "
            f"this one is {graph.sha256[:12]}…): run `tercet profile` again"
        )
    work = np.array(operation_work(graph, TensorTypes.with_inputs(graph.model, profile.shapes)))
    times_ms = np.zeros(len(graph.operations))
    for segment, operations in zip(profile.segments, segment_operations(profile, graph), strict=True):
        _add_segment(times_ms, segment.kernels, operations, graph, work)
    return times_ms


def segment_operations(profile: Profile, graph: OnnxGraph) -> list[list[int]]:
    """Indices of the operations of each segment of the profiled cut, ascending."""
    before = [frozenset[int]()]
    before += [boundary_of_tensors(graph, names).before for names in profile.boundaries[1:-1]]
    before.append(frozenset(range(len(graph.operations))))
    return [sorted(after - here) for here, after in itertools.pairwise(before)]


def _add_segment(
    times_ms: Float64Array,
    kernels: Sequence[KernelTime],
    operations: Sequence[int],
    graph: OnnxGraph,
    work: Float64Array,
) -> None:
    names = _names(graph, operations)
    ends: dict[int, float] = {}
    unknown_ms = 0.0
    for kernel in kernels:
        found = next((names[name] for name in _stems(kernel.node) if name in names), None)
        if found is None:
            unknown_ms += kernel.ms
        else:
            ends[found] = ends.get(found, 0.0) + kernel.ms
    owner = _owners(graph, operations, ends)
    left = [index for index in operations if index not in owner]
    if unknown_ms:
        _share(times_ms, left or operations, unknown_ms, work)
    else:
        _join_producers(graph, left, owner)
    for end, ms in ends.items():
        _share(times_ms, [index for index in operations if owner.get(index) == end], ms, work)


def _share(times_ms: Float64Array, operations: Sequence[int], ms: float, work: Float64Array) -> None:
    indices = np.array(operations)
    times_ms[indices] += ms * work[indices] / work[indices].sum()


def _names(graph: OnnxGraph, operations: Iterable[int]) -> dict[str, int]:
    """Operations by what a kernel may be called: names of their outputs, then of their nodes."""
    names: dict[str, int] = {}
    for index in operations:
        operation = graph.operations[index]
        for name in operation.gives:
            names[name] = index
        if operation.node.name:
            names.setdefault(operation.node.name, index)
    return names


def _stems(kernel: str) -> list[str]:
    """The name and what is left of it without what the runtime puts around names, longest first."""
    stems = [kernel]
    for stem in stems:
        stems.extend(stem.removeprefix(prefix) for prefix in _PREFIXES if stem.startswith(prefix))
        stems.extend(stem.removesuffix(suffix) for suffix in _SUFFIXES if stem.endswith(suffix))
    return [stem for stem in stems if stem]


def _owners(graph: OnnxGraph, operations: Sequence[int], ends: Collection[int]) -> dict[int, int]:
    """The named operation of the kernel that computes each operation, as far as names tell.

    A kernel also has what is fused to its named operation: the activations after it, and then whatever comes before
    it and is nobody's.
    """
    inside, owner = set(operations), {end: end for end in ends}
    for index in operations:
        if index not in owner and graph.operations[index].node.op_type in FUSED_WITH_PRODUCER:
            owners = [owner[maker] for maker in _producers(graph, index) if maker in owner]
            if owners:
                owner[index] = max(owners)
    for end in sorted(ends):
        wanted = _producers(graph, end)
        while wanted:
            index = wanted.pop()
            if index in inside and index not in owner:
                owner[index] = end
                wanted.extend(_producers(graph, index))
    return owner


def _join_producers(graph: OnnxGraph, left: Iterable[int], owner: dict[int, int]) -> None:
    """Where every kernel is known, the rest has been folded into what comes before it."""
    for index in left:
        owners = [owner[maker] for maker in _producers(graph, index) if maker in owner]
        if owners:
            owner[index] = max(owners)


def _producers(graph: OnnxGraph, index: int) -> list[int]:
    return [graph.producer[name] for name in graph.operations[index].reads if name in graph.producer]
