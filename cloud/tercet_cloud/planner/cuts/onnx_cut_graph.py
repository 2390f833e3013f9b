"""An ONNX model as the planner's graph."""

from __future__ import annotations

from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor


def cut_graph_of(graph: OnnxGraph) -> CutGraph:
    """The same operations in the same order, each named by its first output, and the tensors that can cross.

    What crosses a cut here is what `models.boundaries` says of the same cut, names and order alike, with one
    exception: an input that nothing reads is in boundary 0 but costs nothing here. Constants are no tensors.
    """
    outputs = set(graph.outputs)
    tensors = [
        FlowTensor(name, graph.producer.get(name, INPUT), graph.consumers.get(name, ()), name in outputs)
        for name in (*graph.inputs, *(name for operation in graph.operations for name in operation.gives))
        if name in graph.inputs or name in outputs or name in graph.consumers
    ]
    return CutGraph(tuple(operation.gives[0] for operation in graph.operations), tuple(tensors))
