"""Where a model can be cut: a cut is a set of operations closed under "comes before", and what flows out of it."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tercet.errors import SpecError
from tercet_cloud.models.graph import OnnxGraph

_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Cut:
    """One place to cut.

    `before` holds the indices of the operations before it, with everything they depend on; `tensors` what crosses,
    the model's inputs first, then in the order in which they are made.
    """

    before: frozenset[int]
    tensors: tuple[str, ...]


def start_of(graph: OnnxGraph) -> Cut:
    """Boundary 0: nothing computed yet, all inputs cross."""
    return Cut(frozenset(), graph.inputs)


def end_of(graph: OnnxGraph) -> Cut:
    """The last boundary: everything computed, the outputs cross in the model's order."""
    return Cut(frozenset(range(len(graph.operations))), tuple(dict.fromkeys(graph.outputs)))


def block_ends(graph: OnnxGraph) -> tuple[str, ...]:
    """Every tensor that crosses alone somewhere inside the model, in data-flow order. Linear time.

    The model's input and its final output are left out: cutting there leaves one side nothing to do.
    """
    outputs = set(graph.outputs)
    waiting = {name: len(graph.consumers.get(name, ())) for name in (*graph.inputs, *graph.producer)}
    live = {name for name in graph.inputs if waiting[name] or name in outputs}
    ends: list[str] = []
    for operation in graph.operations[:-1]:
        for name in operation.reads:
            waiting[name] -= 1
            if not waiting[name] and name not in outputs:
                live.discard(name)
        live.update(name for name in operation.gives if waiting[name] or name in outputs)
        if len(live) == 1:
            ends.extend(live)
    return tuple(ends)


def boundary_of_nodes(graph: OnnxGraph, nodes: Iterable[int]) -> Cut:
    """The cut after the operations `nodes` and all that they depend on."""
    before = _with_ancestors(graph, nodes)
    return Cut(before, _crossing(graph, before))


def boundary_of_tensors(graph: OnnxGraph, names: Sequence[str]) -> Cut:
    """The cut at which exactly the tensors `names` cross.

    Raises:
        SpecError: a name that is no tensor here or a constant, a tensor that no longer crosses there, or others
            that cross as well; the message names them and the nearest valid choices.
    """
    if not names:
        raise SpecError("a boundary needs at least one tensor")
    for name in names:
        _require_flowing(graph, name)
    cut = boundary_of_nodes(graph, (graph.producer[name] for name in names if name in graph.producer))
    if not cut.before:
        raise SpecError(
            f"{_listed(names)}: the model starts here, nothing is before this cut; {_hint(graph, names)}"
        )
    if len(cut.before) == len(graph.operations):
        raise SpecError(f"{_listed(names)}: the model ends here, nothing is after this cut; {_hint(graph, names)}")
    if spent := [name for name in names if name not in cut.tensors]:
        raise SpecError(
            f"{_listed(names)} is not a cut: {_listed(spent)} is used up before the others are made; leave it out"
        )
    if extra := [name for name in cut.tensors if name not in names]:
        also = "crosses" if len(extra) == 1 else "cross"
        raise SpecError(
            f"{_listed(names)} is not a cut: {_listed(extra)} {also} there as well; "
            f"cut at {','.join(cut.tensors)}, or where one tensor crosses: {_near(graph, cut)}"
        )
    return cut


def require_nested(graph: OnnxGraph, cuts: Sequence[Cut]) -> None:
    """SpecError unless every cut has operations before it, after it and between it and the next one."""
    places = [start_of(graph), *cuts, end_of(graph)]
    for earlier, later in itertools.pairwise(places):
        if not earlier.before < later.before:
            raise SpecError(
                f"boundaries must follow the data: {_listed(earlier.tensors)} does not come before "
                f"{_listed(later.tensors)} with work between them"
            )


def _with_ancestors(graph: OnnxGraph, nodes: Iterable[int]) -> frozenset[int]:
    seen, wanted = set[int](), list(nodes)
    while wanted:
        index = wanted.pop()
        if index not in seen:
            seen.add(index)
            reads = graph.operations[index].reads
            wanted.extend(graph.producer[name] for name in reads if name in graph.producer)
    return frozenset(seen)


def _crossing(graph: OnnxGraph, before: frozenset[int]) -> tuple[str, ...]:
    if len(before) == len(graph.operations):
        return end_of(graph).tensors
    outputs = set(graph.outputs)
    made = (name for index in sorted(before) for name in graph.operations[index].gives)
    return tuple(
        name
        for name in (*graph.inputs, *made)
        if name in outputs or any(index not in before for index in graph.consumers.get(name, ()))
    )


def _require_flowing(graph: OnnxGraph, name: str) -> None:
    if graph.is_constant(name):
        raise SpecError(f"tensor {name!r} is a constant: every part has its own copy; {_hint(graph, [name])}")
    if name not in graph.producer and name not in graph.inputs:
        raise SpecError(f"the model has no tensor {name!r}; {_hint(graph, [name])}")
    if name not in graph.consumers and name not in graph.outputs:
        raise SpecError(f"tensor {name!r} is used by nothing; {_hint(graph, [name])}")


def _hint(graph: OnnxGraph, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(names[0], [name for name in graph.producer if name not in names], n=3)
    close = [name for name in close if name in graph.consumers]
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    ends = block_ends(graph)
    if not ends:
        return f"{meant}no single tensor cuts this model, name several"
    return f"{meant}one tensor crosses at {_shortened(ends)}"


def _near(graph: OnnxGraph, cut: Cut) -> str:
    """The block ends around a place."""
    ends = block_ends(graph)
    if not ends:
        return "nowhere in this model"
    place = max(cut.before)
    later = next((i for i, name in enumerate(ends) if graph.producer[name] > place), len(ends))
    return " or ".join(ends[max(0, later - 1) : later + 1])


def _shortened(names: Sequence[str]) -> str:
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names)
    step = len(names) / _NAMES_SHOWN
    shown = [names[int(i * step)] for i in range(_NAMES_SHOWN)]
    return f"{', '.join(shown)} … ({len(names)} in all, `tercet models show` lists them)"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
