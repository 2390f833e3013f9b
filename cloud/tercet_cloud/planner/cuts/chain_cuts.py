"""The cuts of a network seen as a chain of layers: the places where one tensor crosses alone.

Where most planners that were published look, and most best cuts lie.
"""

from __future__ import annotations

from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph


def chain_cuts(graph: CutGraph) -> tuple[frozenset[int], ...]:
    """Operations before each cut, growing: none, those before each tensor that crosses alone, all. Linear time
    but for the sets themselves.
    """
    waiting = [len(tensor.consumers) for tensor in graph.tensors]
    made: list[list[int]] = [[] for _ in graph.operations]
    read: list[list[int]] = [[] for _ in graph.operations]
    crossing = 0
    for index, tensor in enumerate(graph.tensors):
        if tensor.producer == INPUT:
            crossing += bool(waiting[index]) or tensor.is_output
        else:
            made[tensor.producer].append(index)
        for consumer in tensor.consumers:
            read[consumer].append(index)
    found = [frozenset[int]()]
    for operation in range(len(graph.operations) - 1):
        for index in read[operation]:
            waiting[index] -= 1
            crossing -= not waiting[index] and not graph.tensors[index].is_output
        crossing += sum(bool(waiting[index]) or graph.tensors[index].is_output for index in made[operation])
        if crossing == 1:
            found.append(frozenset(range(operation + 1)))
    return (*found, frozenset(range(len(graph.operations))))
