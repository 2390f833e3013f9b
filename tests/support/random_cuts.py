"""Seeded random networks and costs for the planner."""

from __future__ import annotations

import numpy as np

from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph, FlowTensor
from tercet_cloud.planner.cuts.linear_cost import LinearCost


def random_graph(seed: int, *, operations: int = 7, skips: float = 0.4) -> CutGraph:
    """Chains with branches and skips; tensors with many readers, several inputs and outputs, sources on no input.

    Args:
        operations: at most so many.
        skips: 0 for a chain; how often an operation reads from further back.
    """
    random = np.random.default_rng(seed)
    count = int(random.integers(1, operations + 1))
    inputs = int(random.integers(1, 3))
    producers = [INPUT] * inputs
    readers: list[list[int]] = [[] for _ in range(inputs)]
    for operation in range(count):
        reads = set[int]()
        # One in ten hangs on nothing, like a random number.
        if random.random() > 0.1 or len(producers) == inputs:
            reads.add(len(producers) - 1)
            while random.random() < skips:
                reads.add(int(random.integers(len(producers))))
        for tensor in reads:
            readers[tensor].append(operation)
        for _ in range(2 if random.random() < 0.15 else 1):
            producers.append(operation)
            readers.append([])
    tensors = tuple(
        FlowTensor(
            f"t{index}",
            producer,
            tuple(sorted(consumers)),
            is_output=(producer != INPUT and not consumers) or bool(random.random() < 0.08),
        )
        for index, (producer, consumers) in enumerate(zip(producers, readers, strict=True))
    )
    return CutGraph(tuple(f"op{index}" for index in range(count)), tensors)


def random_cost(graph: CutGraph, random: np.random.Generator, *, link_scale: float = 2.0) -> LinearCost:
    """A device slower than edge and cloud, mostly; some costs are zero or whole, so that many tie."""
    operations, tensors = len(graph.operations), len(graph.tensors)
    on_tier = random.exponential(1, operations) * random.uniform(0.5, 1.5, (3, operations))
    on_tier *= random.choice([[1, 0.4, 0.1], [1, 1, 1], [0.2, 1, 0.5], [3, 0, 0]], axis=0)[:, None]
    over_link = random.exponential(link_scale, tensors) * random.uniform(0.2, 1.5, (2, tensors))
    if random.random() < 0.3:
        on_tier, over_link = np.round(on_tier), np.round(over_link)
    first, second, device = random.exponential(1, 3) * (random.random(3) < 0.7)
    return LinearCost(on_tier, over_link, (float(first), float(second)), float(device))
