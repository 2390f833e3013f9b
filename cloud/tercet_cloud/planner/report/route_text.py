"""A candidate in one line: where it is cut, and how each cut is coded."""

from __future__ import annotations

from collections.abc import Sequence

from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.cuts.cut_graph import CutGraph

_NAME_CHARS = 26


def route_text(candidate: Candidate, graph: CutGraph) -> str:
    """For example "device ─block05·klt:5→ edge ─block14·int8→ cloud".

    A device with nothing to compute is left out; "(edge)" hands frames on as they came.
    """
    assignment = candidate.assignment(graph)
    parts = [] if assignment.at_edge_or_beyond.all() else ["device"]
    if assignment.passes_edge and candidate.codecs[0] == candidate.codecs[1]:
        return " ".join([*parts, _arrow(candidate, graph, 0), "(edge) → cloud"])
    if assignment.uses(0):
        parts += [_arrow(candidate, graph, 0), "edge"]
    if assignment.uses(1):
        if assignment.passes_edge:
            parts[-1] = "edge recodes"
        parts += [_arrow(candidate, graph, 1), "cloud"]
    return " ".join(parts)


def boundary_text(names: Sequence[str], graph: CutGraph) -> str:
    """Tensors that cross, short enough for a table; the model's own input is "input"."""
    inputs = {graph.tensors[index].name for index in graph.inputs}
    if names and set(names) == inputs:
        return "input"
    shown = shortened(names[0], _NAME_CHARS) if names else ""
    return f"{shown}+{len(names) - 1}" if len(names) > 1 else shown


def shortened(name: str, chars: int) -> str:
    """The end of a name tells most."""
    return name if len(name) <= chars else f"…{name[1 - chars :]}"


def _arrow(candidate: Candidate, graph: CutGraph, link: int) -> str:
    return f"─{boundary_text(candidate.crossing(graph, link), graph)}·{candidate.codecs[link]}→"
