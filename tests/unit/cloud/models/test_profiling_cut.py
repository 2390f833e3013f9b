"""A model is cut for measuring where cuts are cheap, and every model somehow."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from support.chains import run_chain, run_whole
from support.conv_net import INPUT, conv_net, put_model
from support.onnx_models import EARLY_OUTPUT, LOOP, RANDOM, SKIP, parse
from tercet.models.store import Store
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.profiling_cut import (
    MAX_SEGMENTS,
    operation_work,
    other_cuts,
    profiling_cuts,
    slice_for_profiling,
)

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))

# Two branches from the first operation to the last: no single tensor crosses anywhere between.
BRANCHES = """branches (float[N, 4] x, float[N, 4] z) => (float[N, 4] y) {
    a = Relu(x)
    b = Exp(z)
    c = Neg(a)
    d = Neg(b)
    y = Add(c, d)
}"""
ONE = """one (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"""


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_cuts_of_shipped_graphs_are_nested_and_few(path: Path) -> None:
    graph = OnnxGraph(path.read_bytes())
    cuts = profiling_cuts(graph, {})
    assert 5 <= len(cuts) < MAX_SEGMENTS
    assert all(earlier.before < later.before for earlier, later in pairwise(cuts))
    work = np.array(operation_work(graph, graph.types))
    steps = [sum(work[index] for index in cut.before) / work.sum() for cut in cuts]
    assert steps[0] < 0.35
    assert steps[-1] > 0.65


def test_a_network_with_single_tensor_cuts_is_cut_only_there() -> None:
    cuts = profiling_cuts(OnnxGraph(conv_net(blocks=12)), {})
    assert len(cuts) >= 5
    assert all(len(cut.tensors) == 1 for cut in cuts)


def test_what_the_runtime_fuses_is_not_parted() -> None:
    """Neither a convolution from its activation, nor from the sum with the skip."""
    crossing = {name for cut in profiling_cuts(OnnxGraph(conv_net(blocks=12)), {}) for name in cut.tensors}
    assert crossing <= {f"b{block}" for block in range(13)} | {f"c{block}_warm" for block in range(12)} | {"pooled"}


def test_where_no_single_tensor_cuts_several_do() -> None:
    cuts = profiling_cuts(OnnxGraph(parse(BRANCHES)), {})
    assert cuts
    assert all(len(cut.tensors) == 2 for cut in cuts)


def test_a_model_that_cannot_be_cut_is_measured_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put_model(store, parse(ONE), "one")
    cuts = slice_for_profiling(store, "one")
    assert len(cuts.fine.segments) == 1
    assert cuts.coarser == ()


@pytest.mark.parametrize(
    "text", [SKIP, EARLY_OUTPUT, LOOP, RANDOM, BRANCHES], ids=["skip", "early", "loop", "random", "branches"]
)
def test_odd_graphs_get_nested_cuts_too(text: str) -> None:
    cuts = profiling_cuts(OnnxGraph(parse(text)), {})
    assert all(earlier.before < later.before for earlier, later in pairwise(cuts))


def test_the_slices_together_are_the_model_and_coarser_ones_lie_beside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    data = conv_net(blocks=8)
    put_model(store, data)
    cuts = slice_for_profiling(store, "conv-net")
    image = {INPUT: np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)}
    (expected,) = run_whole(data, image).values()
    (found,) = run_chain(store, cuts.fine, image).values()
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert [len(coarser.segments) for coarser in cuts.coarser] == [1, 2, 3]
    fine = {boundary.names for boundary in cuts.fine.boundaries}
    assert all(boundary.names in fine for coarser in cuts.coarser for boundary in coarser.boundaries)


def test_free_sizes_count_as_they_are_given() -> None:
    graph = OnnxGraph(conv_net(blocks=8, side="side"))
    small, large = (profiling_cuts(graph, {INPUT: (1, 3, side, side)}) for side in (8, 64))
    assert len(small) >= 3
    assert len(large) >= 3
    assert not set(graph.types.shape("b1") or ()) - {None, 8, 1}


def test_other_cuts_are_other_cuts() -> None:
    graph = OnnxGraph(conv_net(blocks=12))
    taken = {cut.tensors for cut in profiling_cuts(graph, {})}
    others = other_cuts(graph, {})
    assert others
    assert not taken & {cut.tensors for cut in others}
