"""Choosing cut and codec together is never worse than the cut first, and can be much better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.planner_cases import MENU, chain_graph, random_graph, random_measurements, random_topology
from support.synthetic_accuracy import SyntheticAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Tiers, TierSpec, Topology
from tercet_cloud.planner.measuring.coding_table import TensorCoding
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.views.joint_gain import joint_gains, mean_ratios


@settings(deadline=None, max_examples=2)
@given(st.integers(0, 2**32 - 1))
def test_together_is_never_slower_than_the_cut_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 3)
    limits = Constraints(max_accuracy_drop=0.05)
    topologies = [random_topology(rng, constraints=limits) for _ in range(2)]
    model = CostModel(random_measurements(rng, graph), topologies[0])
    gains = joint_gains(model, AccuracyMemo(model, SyntheticAccuracy(model, seed)), topologies)
    assert len(gains) == 2
    for gain in gains:
        assert gain.latency_ratio >= 1 - 1e-6
        # The bottleneck is minimised up to the tie-break by latency.
        assert gain.throughput_ratio >= 1 - 0.01
    assert min(mean_ratios(gains)) >= 1 - 0.01


def test_a_codec_that_shrinks_what_raw_would_not_send_moves_the_cut() -> None:
    """Uncoded, all tensors are too large for the link, so all stays on the slow device; int8 makes one small."""
    graph = chain_graph(3)
    measured = random_measurements(np.random.default_rng(1), graph)
    sizes = {"input0": 1e6, "t0": 1e6, "t1": 1e6, "t2": 1e6}

    def entry(name: str, title: str) -> TensorCoding | None:
        if title not in ("raw", "int8"):
            return None
        small = title == "int8" and name == "t0"
        return TensorCoding(bytes=1_000 if small else sizes[name], encode_ms=0.1, decode_ms=0.1)

    tensors = {name: tuple(entry(name, codec.title) for codec in MENU) for name in sizes}
    measured = replace(
        measured,
        op_ms=np.array([[10.0, 100, 100], [1, 10, 10], [1, 10, 10]]),
        coding=measured.coding.model_copy(update={"tensors": tensors}),
    )
    link = LinkSpec(up_mbps=10, down_mbps=10)
    topology = Topology(
        tiers=Tiers(device=TierSpec(), edge=TierSpec()),
        links=Links(device_edge=link, edge_cloud=link),
        constraints=Constraints(max_accuracy_drop=None),
    )
    model = CostModel(measured, topology)
    (gain,) = joint_gains(model, AccuracyMemo(model, SyntheticAccuracy(model, 1)), [topology])
    assert gain.separate_latency.latency_ms == pytest.approx(210 + 0.2)
    assert gain.joint_latency.latency_ms < 40
    assert gain.latency_ratio > 5
