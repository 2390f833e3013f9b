"""All cuts of a network with few parallel branches, however long: every downset, what it costs on each link, and
which lie within which.

What a cut costs depends on each link's downset alone (`brute_force_cuts` does not assume it, and a test compares),
so all pairs of nested downsets can be tried without listing them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tercet_cloud.planner.cuts.cut_graph import INPUT, CutGraph
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost


class EveryDownset:
    """The downsets of a graph as bit sets, smaller ones first.

    `parts` holds for each those smaller by one operation, and that operation.
    """

    def __init__(self, graph: CutGraph, most: int) -> None:
        self.graph = graph
        count = len(graph.operations)
        needs, followers = [0] * count, [list[int]() for _ in range(count)]
        for earlier, later in graph.edges:
            needs[later] |= 1 << earlier
            followers[earlier].append(later)
        self.sets: list[int] = []
        self.parts: list[list[tuple[int, int]]] = []
        level = {0: ([i for i in range(count) if not needs[i]], list[tuple[int, int]]())}
        while level:
            after: dict[int, tuple[list[int], list[tuple[int, int]]]] = {}
            for here, (ready, parts) in level.items():
                self.sets.append(here)
                self.parts.append(parts)
                assert len(self.sets) <= most, f"more than {most} downsets"
                for operation in ready:
                    larger = here | 1 << operation
                    if larger not in after:
                        freed = [j for j in followers[operation] if not needs[j] & ~larger]
                        after[larger] = ([j for j in ready if j != operation] + freed, [])
                    after[larger][1].append((len(self.sets) - 1, operation))
            level = after

    def link_costs(self, cost: LinearCost) -> Float64Array:
        """(2, downsets): what each link adds if it is cut there, all computing on the far side taken as given.

        The cost of a pair is the sum of both entries and of everything computed in the cloud.
        """
        graph = self.graph
        saved = np.stack([cost.on_tier[0] - cost.on_tier[1], cost.on_tier[1] - cost.on_tier[2]])
        reads: list[list[int]] = [[] for _ in graph.operations]
        makes: list[list[int]] = [[] for _ in graph.operations]
        readers: list[int] = []
        for index, tensor in enumerate(graph.tensors):
            readers.append(sum(1 << reader for reader in tensor.consumers))
            for reader in tensor.consumers:
                reads[reader].append(index)
            if tensor.producer != INPUT and (tensor.consumers or tensor.is_output):
                makes[tensor.producer].append(index)
        table = np.zeros((2, len(self.sets)))
        for link in (0, 1):
            price, gain, column = cost.over_link[link].tolist(), saved[link].tolist(), [0.0] * len(self.sets)
            column[0] = sum(
                price[index]
                for index, tensor in enumerate(graph.tensors)
                if tensor.producer == INPUT and (tensor.consumers or tensor.is_output)
            )
            for place, parts in enumerate(self.parts[1:], 1):
                smaller, operation = parts[0]
                here = self.sets[place]
                spent = sum(
                    price[index]
                    for index in reads[operation]
                    if not graph.tensors[index].is_output and not readers[index] & ~here
                )
                column[place] = (
                    column[smaller] + gain[operation] - spent + sum(price[index] for index in makes[operation])
                )
            # Behind everything there is nothing to send.
            column[-1] = float(saved[link].sum()) - cost.link_used[link]
            table[link] = column
            table[link] += cost.link_used[link]
        table[0, 1:] += cost.device_used
        return table

    def least(self, cost: LinearCost) -> float:
        """The least cost of any pair of nested downsets."""
        first, second = self.link_costs(cost).tolist()
        within = list(first)
        for place, parts in enumerate(self.parts[1:], 1):
            # A smaller downset lies within this one less one of its last operations.
            within[place] = min(first[place], *(within[smaller] for smaller, _ in parts))
        return min(a + b for a, b in zip(within, second, strict=True)) + float(cost.on_tier[2].sum())

    def pair_costs(self, cost: LinearCost) -> Float64Array:
        """(downsets, downsets): device's by row, until-cloud's by column; infinite unless nested."""
        first, second = self.link_costs(cost)
        total: Float64Array = first[:, None] + second + float(cost.on_tier[2].sum())
        return np.where(self.nested(), total, np.inf)

    def nested(self) -> npt.NDArray[np.bool_]:
        count = len(self.graph.operations)
        data = b"".join(here.to_bytes(count // 8 + 1, "little") for here in self.sets)
        bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(len(self.sets), -1), axis=1).astype(np.float32)
        outside = bits @ (1 - bits.T)
        return np.asarray(outside == 0)
