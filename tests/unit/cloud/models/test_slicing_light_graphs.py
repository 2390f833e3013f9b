"""The classic networks that the onnx package ships, cut everywhere.

Their weights are constants made inside the graph, so activations can grow to any size, and all classes score the
same: errors are relative to max(1, |x|max), and every tensor that crosses is compared, not only the output.
"""

from __future__ import annotations

import gc
import random
from pathlib import Path

import numpy as np
import onnx
import pytest

from support.chains import (
    Tensors,
    put_slices,
    relative_error,
    run_and_compare_every_boundary,
    run_whole,
    run_whole_with_inside,
)
from tercet.inference.segment_chain import SegmentChain
from tercet.models.store import Store
from tercet_cloud.models.boundaries import Cut, block_ends, boundary_of_nodes, boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph

TOLERANCE = 1e-5
FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
GRAPHS = sorted(FOLDER.glob("light_*.onnx"))
LEAST_BLOCK_ENDS = 20


def test_onnx_ships_the_graphs() -> None:
    assert len(GRAPHS) >= 9


def random_nested_cuts(graph: OnnxGraph, count: int, seed: int) -> list[Cut]:
    """Up to `count` nested cuts, each after three random operations and all that they depend on."""
    generator = random.Random(seed)
    cuts: list[Cut] = []
    operations = len(graph.operations)
    for part in range(1, count + 1):
        upper = part * (operations - 1) // count
        before = set(cuts[-1].before) if cuts else set()
        cut = boundary_of_nodes(graph, before | set(generator.sample(range(upper), min(3, upper))))
        if before < cut.before and len(cut.before) < operations:
            cuts.append(cut)
    return cuts


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("where", ["every-block-end", "random-sets"])
def test_the_chain_of_segments_equals_the_whole(path: Path, where: str, tmp_path: Path) -> None:
    onnx_bytes = path.read_bytes()
    graph = OnnxGraph(onnx_bytes)
    if where == "every-block-end":
        ends = block_ends(graph)
        assert len(ends) >= LEAST_BLOCK_ENDS
        cuts = [boundary_of_tensors(graph, [name]) for name in ends]
    else:
        cuts = random_nested_cuts(graph, 4, seed=len(onnx_bytes))
    store = Store(tmp_path)
    manifest = put_slices(store, graph, cuts)

    pixels = image(graph)
    expected = run_whole_with_inside(graph, cuts, pixels)
    gc.collect()
    chain = SegmentChain(manifest, store, threads=2)
    current = run_and_compare_every_boundary(chain, pixels, expected, TOLERANCE)
    del chain
    gc.collect()
    assert relative_error(current, run_whole(onnx_bytes, pixels)) <= TOLERANCE


def image(graph: OnnxGraph) -> Tensors:
    (name,) = graph.inputs
    return {name: np.random.default_rng(0).uniform(0, 1, (1, 3, 224, 224)).astype(np.float32)}
