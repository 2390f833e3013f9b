"""Where to cut a model to measure it: at most some two dozen places, spread over its compute, each a cheap cut.

A cheap cut has few and small tensors and does not part what the runtime computes as one kernel: what is measured on
its two sides is then nearly what a longer session spends there. Any model has such places, because every prefix of
its operations is one; most have places where a single tensor crosses.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod

import numpy as np

from tercet.errors import SpecError
from tercet.inference.sample_inputs import Shapes
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet_cloud.models.boundaries import Cut, boundary_of_tensors
from tercet_cloud.models.compute_cost import macs_by_operation
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.slicing import slice_model
from tercet_cloud.models.tensor_types import TensorTypes

MAX_SEGMENTS = 24
# If so many of the cuts are of a single tensor, there are no others.
_ENOUGH_SINGLE = 5
# The runtime computes these together with the operation before them.
FUSED_WITH_PRODUCER = frozenset(
    {
        *("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "HardSwish", "Gelu", "Erf"),
        *("BatchNormalization", "Add", "Mul", "Div", "Softmax"),
    }
)


@dataclass(frozen=True)
class _Place:
    """After the first `operations` operations: what crosses, and how dear a cut that is."""

    operations: int
    tensors: tuple[str, ...]
    price: tuple[int, int, int]


@dataclass(frozen=True)
class ProfilingCuts:
    """A fine cut to measure, and the coarser ones that its calibration is fitted to and judged by."""

    fine: Manifest
    coarser: tuple[Manifest, ...]


def profiling_cuts(graph: OnnxGraph, shapes: Shapes, *, most_segments: int = MAX_SEGMENTS) -> list[Cut]:
    """Nested cuts, at most `most_segments - 1` of them; none if the model cannot be cut.

    Args:
        shapes: of inputs with free sizes.
    """
    types = TensorTypes.with_inputs(graph.model, shapes)
    chosen = _best_places(_places(graph, types), operation_work(graph, types), most_segments)
    if sum(len(place.tensors) == 1 for place in chosen) >= _ENOUGH_SINGLE:
        chosen = [place for place in chosen if len(place.tensors) == 1]
    return _nested(_cuts(graph, chosen[: most_segments - 1]))


def other_cuts(graph: OnnxGraph, shapes: Shapes, count: int = 4) -> list[Cut]:
    """Nested cuts spread over the compute, at places that `profiling_cuts` passes over."""
    types = TensorTypes.with_inputs(graph.model, shapes)
    taken = {cut.tensors for cut in profiling_cuts(graph, shapes)}
    places = [place for place in _places(graph, types) if place.tensors not in taken and not place.price[1]]
    return _nested(_cuts(graph, _best_places(places, operation_work(graph, types), count)))


def _best_places(places: Sequence[_Place], work: Sequence[float], parts: int) -> list[_Place]:
    """The cheapest place in each of so many equal parts of the work, where there is any."""
    done = np.cumsum(work)
    best = []
    for part in range(parts):
        low, high = (done[-1] * (part + step) / parts for step in (0, 1))
        here = [place for place in places if low <= done[place.operations - 1] < high]
        if here:
            best.append(min(here, key=lambda place: place.price))
    return best


def slice_for_profiling(store: Store, model_name: str, shapes: Shapes | None = None) -> ProfilingCuts:
    """Cut a model of the store to be measured; all segments and manifests are in the store afterwards.

    The coarser cuts are the whole model, halves and thirds.

    Args:
        shapes: of inputs with free sizes; without, those count as 1 where compute is weighed.
    Raises:
        NotFoundError, IntegrityError, SpecError.
    """
    graph = OnnxGraph(store.model_bytes(store.card(model_name)))
    cuts = profiling_cuts(graph, shapes or {})
    count = len(cuts) + 1
    fine = _store_slices(store, graph, model_name, cuts)
    coarser = [
        [cuts[round(count * number / parts) - 1] for number in range(1, parts)]
        for parts in (1, 2, 3)
        if count >= 2 * parts
    ]
    return ProfilingCuts(fine, tuple(_store_slices(store, graph, model_name, some) for some in coarser))


def _cuts(graph: OnnxGraph, places: Sequence[_Place]) -> list[Cut]:
    cuts = []
    for place in places:
        # Where random numbers are made on the side, a prefix may be more than its tensors depend on.
        with suppress(SpecError):
            cuts.append(boundary_of_tensors(graph, place.tensors))
    return cuts


def _nested(cuts: Sequence[Cut]) -> list[Cut]:
    kept: list[Cut] = []
    for cut in cuts:
        if not kept or kept[-1].before < cut.before:
            kept.append(cut)
    return kept


def operation_work(graph: OnnxGraph, types: TensorTypes) -> list[float]:
    """A rough amount of work of each operation, positive: arithmetic, and bytes read and written.

    Measured times replace it wherever there are any; it only divides what was measured together.
    """
    macs = macs_by_operation(graph, types)
    return [
        1.0 + macs[operation.index] + 2.0 * _moved_bytes(types, (*operation.reads, *operation.gives))
        if operation.node.op_type not in _VIEWS
        else 1.0
        for operation in graph.operations
    ]


# They give what they take under another shape.
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Dropout", "Size"})


def _moved_bytes(types: TensorTypes, names: Sequence[str]) -> int:
    return sum(4 * prod(size or 1 for size in types.shape(name) or (0,)) for name in names)


def _places(graph: OnnxGraph, types: TensorTypes) -> list[_Place]:
    """Every prefix of the operations whose crossing tensors can cross."""
    outputs = set(graph.outputs)
    waiting = {name: len(graph.consumers.get(name, ())) for name in (*graph.inputs, *graph.producer)}
    live = dict.fromkeys(name for name in graph.inputs if waiting[name] or name in outputs)
    size_bytes: dict[str, int | None] = {}
    places = []
    for operation in graph.operations[:-1]:
        for name in operation.reads:
            waiting[name] -= 1
            if not waiting[name] and name not in outputs:
                live.pop(name, None)
        live.update(dict.fromkeys(name for name in operation.gives if waiting[name] or name in outputs))
        for name in live:
            if name not in size_bytes:
                size_bytes[name] = _crossing_bytes(graph, types, name)
        sizes = [size_bytes[name] for name in live]
        if any(size is None for size in sizes):
            continue
        parted = sum(_parts_kernel(graph, name) for name in live)
        price = (len(live), parted, sum(size or 0 for size in sizes))
        places.append(_Place(operation.index + 1, tuple(live), price))
    return places


def _crossing_bytes(graph: OnnxGraph, types: TensorTypes, name: str) -> int | None:
    """Raw bytes of a tensor for one frame; None if it cannot cross."""
    try:
        spec = graph.types.spec(name)
    except SpecError:
        return None
    return prod(size or 1 for size in types.shape(name) or spec.shape) * np.dtype(spec.dtype).itemsize


def _parts_kernel(graph: OnnxGraph, name: str) -> bool:
    """Whether the runtime would compute this tensor's producer and its only reader in one kernel."""
    readers = graph.consumers.get(name, ())
    return (
        name in graph.producer
        and len(readers) == 1
        and graph.operations[readers[0]].node.op_type in FUSED_WITH_PRODUCER
    )


def _store_slices(store: Store, graph: OnnxGraph, model_name: str, cuts: Sequence[Cut]) -> Manifest:
    manifest, files = slice_model(graph, model_name, cuts)
    for data in files:
        store.add_segment(data)
    store.add_manifest(manifest)
    return manifest
