"""The chain of a network: every place along its order where one tensor crosses alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from support.planner_cases import chain_graph, random_graph
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.cuts.cut_graph import Assignment


def test_every_place_of_a_chain_is_a_cut() -> None:
    assert chain_cuts(chain_graph(3)) == tuple(frozenset(range(count)) for count in range(4))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 2))
def test_cuts_of_a_chain_are_the_prefixes_that_one_tensor_crosses(seed: int, operations: int, inputs: int) -> None:
    graph = random_graph(np.random.default_rng(seed), operations, inputs=inputs)
    everything = frozenset(range(operations))
    prefixes = [frozenset(range(count)) for count in range(1, operations)]
    alone = [
        before for before in prefixes if len(Assignment.of_cuts(graph, before, everything).crossing(graph, 0)) == 1
    ]
    assert chain_cuts(graph) == (frozenset(), *alone, everything)
