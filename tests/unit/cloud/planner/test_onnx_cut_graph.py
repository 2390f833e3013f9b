"""The planner's graph of an ONNX model is the slicer's: the same cuts, the same tensors across."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from support.brute_force_cuts import downsets
from support.onnx_models import (
    CAPTURE,
    EARLY_OUTPUT,
    LATE_INPUT,
    LOOP,
    PASSED_THROUGH,
    RANDOM,
    SHARED_CONSTANT,
    SKIP,
    parse,
)
from tercet_cloud.models.boundaries import block_ends, boundary_of_nodes, boundary_of_tensors, start_of
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.slicing import slice_model
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.cuts.cut_graph import INPUT
from tercet_cloud.planner.cuts.onnx_cut_graph import cut_graph_of

SMALL = [SKIP, EARLY_OUTPUT, LATE_INPUT, PASSED_THROUGH, SHARED_CONSTANT, CAPTURE, LOOP, RANDOM]
NAMES = ["skip", "early", "late", "passed", "shared", "capture", "loop", "random"]
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("text", SMALL, ids=NAMES)
def test_what_crosses_every_cut_is_what_the_slicer_says(text: str) -> None:
    graph = OnnxGraph(parse(text))
    flow = cut_graph_of(graph)
    everything = frozenset(range(len(graph.operations)))
    for before in downsets(flow) or []:
        crossing = Candidate(before, everything, ("raw", "raw")).crossing(flow, 0)
        assert Candidate(before, before, ("raw", "raw")).crossing(flow, 1) == crossing
        if before == everything:
            assert crossing == ()
        elif before:
            cut = boundary_of_nodes(graph, before)
            assert (cut.before, cut.tensors) == (before, crossing)
            assert boundary_of_tensors(graph, crossing) == cut
            manifest, _ = slice_model(graph, "small", [cut])
            assert tuple(tensor.name for tensor in manifest.boundaries[1].tensors) == crossing
        else:
            assert crossing == start_of(graph).tensors


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1", "densenet121"])
def test_random_cuts_of_networks_cross_alike(name: str) -> None:
    graph = OnnxGraph((LIGHT / f"light_{name}.onnx").read_bytes())
    flow = cut_graph_of(graph)
    everything = frozenset(range(len(graph.operations)))
    random = np.random.default_rng(0)
    for _ in range(100):
        cut = boundary_of_nodes(graph, random.integers(len(graph.operations) - 1, size=3).tolist())
        assert Candidate(cut.before, everything, ("raw", "raw")).crossing(flow, 0) == cut.tensors


def test_operations_are_named_by_what_they_give_first_and_tensors_are_those_that_can_cross() -> None:
    flow = cut_graph_of(OnnxGraph(parse(SHARED_CONSTANT)))
    assert flow.operations == ("a", "b", "c", "y")
    # The output that is a constant crosses nowhere.
    assert [tensor.name for tensor in flow.tensors] == ["x", "a", "b", "c", "y"]
    assert flow.tensors[0].producer == INPUT
    assert [tensor.is_output for tensor in flow.tensors] == [False, False, False, False, True]


def test_an_output_of_an_operation_that_nobody_reads_is_left_out() -> None:
    text = """split (float[N, 4] x) => (float[N, 2] y) {
        low, high = Split <axis = 1> (x)
        y = Relu(low)
    }"""
    flow = cut_graph_of(OnnxGraph(parse(text)))
    assert [tensor.name for tensor in flow.tensors] == ["x", "low", "y"]
    assert flow.operations == ("low", "y")


def test_block_ends_are_the_tensors_that_cross_alone() -> None:
    graph = OnnxGraph(parse(SKIP))
    flow = cut_graph_of(graph)
    everything = frozenset(range(len(graph.operations)))
    alone = [
        crossing[0]
        for before in downsets(flow) or []
        if before and len(crossing := Candidate(before, everything, ("raw", "raw")).crossing(flow, 0)) == 1
    ]
    assert tuple(alone) == block_ends(graph)
