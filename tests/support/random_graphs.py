"""Random data-flow graphs and random assignments of their operations to tiers."""

from __future__ import annotations

from hypothesis import strategies as st

from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor


@st.composite
def flow_graphs(draw: st.DrawFn, *, most: int = 40) -> CutGraph:
    """Every operation reads one to three tensors of earlier ones or the input; what nobody reads is an output."""
    count = draw(st.integers(1, most))
    consumers: dict[int, list[int]] = {}
    for reader in range(count):
        sources = draw(st.sets(st.integers(max(INPUT, reader - 8), reader - 1), min_size=1, max_size=3))
        for source in sources:
            consumers.setdefault(source, []).append(reader)
    also_outputs = draw(st.sets(st.integers(0, count - 1), max_size=2))
    outputs = also_outputs | (set(range(count)) - consumers.keys())
    tensors = [FlowTensor("x", INPUT, tuple(consumers.get(INPUT, ())))] if INPUT in consumers else []
    tensors += [
        FlowTensor(f"t{index}", index, tuple(consumers.get(index, ())), index in outputs) for index in range(count)
    ]
    return CutGraph(tuple(f"op{index}" for index in range(count)), tuple(tensors))


@st.composite
def tiers_of(draw: st.DrawFn, graph: CutGraph) -> list[int]:
    """A tier an operation, never smaller than that of one it reads from; any such assignment may come."""
    count = len(graph.operations)
    tiers = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    for first, second in sorted(graph.edges, key=lambda edge: edge[1]):
        tiers[second] = max(tiers[second], tiers[first])
    return tiers
