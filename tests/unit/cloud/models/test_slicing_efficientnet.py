"""The chain of segments of the real networks equals the uncut network."""

from __future__ import annotations

import random

import numpy as np
import pytest

from support.chains import (
    put_slices,
    relative_error,
    run_and_compare_every_boundary,
    run_chain,
    run_whole,
    run_whole_with_inside,
)
from tercet.codecs.codec import Float32Array
from tercet.inference.segment_chain import SegmentChain
from tercet.models.card import ImageInput
from tercet.models.store import Store
from tercet_cloud.models.boundaries import block_ends, boundary_of_nodes, boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph

TOLERANCE = 1e-5


def load(store: Store, name: str, batch: int = 1) -> tuple[bytes, OnnxGraph, Float32Array]:
    card = store.card(name)
    assert isinstance(card.input, ImageInput)
    onnx_bytes = store.model_bytes(card)
    side = card.input.size
    pixels = np.random.default_rng(0).uniform(-1, 1, (batch, 3, side, side)).astype(np.float32)
    return onnx_bytes, OnnxGraph(onnx_bytes), pixels


BOTH = pytest.mark.parametrize(
    ("fixture", "name"), [("model_store", "efficientnet-lite0"), ("lite2_store", "efficientnet-lite2")]
)


@BOTH
def test_a_segment_per_block_end_equals_the_whole_at_every_boundary(
    fixture: str, name: str, request: pytest.FixtureRequest
) -> None:
    store: Store = request.getfixturevalue(fixture)
    onnx_bytes, graph, pixels = load(store, name, batch=2)
    cuts = [boundary_of_tensors(graph, [end]) for end in block_ends(graph)]
    manifest = put_slices(store, graph, cuts, name)
    assert len(manifest.segments) == len(cuts) + 1 > 40
    assert manifest.batchable
    expected = run_whole_with_inside(graph, cuts, {"image": pixels})
    chain = SegmentChain(manifest, store, threads=2)
    found = run_and_compare_every_boundary(chain, {"image": pixels}, expected, TOLERANCE)
    assert relative_error(found, run_whole(onnx_bytes, {"image": pixels})) <= TOLERANCE


def test_lite0_in_two_at_every_block_end_equals_the_whole(model_store: Store) -> None:
    onnx_bytes, graph, pixels = load(model_store, "efficientnet-lite0")
    expected = run_whole(onnx_bytes, {"image": pixels})
    for end in block_ends(graph):
        manifest = put_slices(model_store, graph, [boundary_of_tensors(graph, [end])], "efficientnet-lite0")
        assert manifest.boundaries[1].names == {end}
        assert relative_error(run_chain(model_store, manifest, {"image": pixels}), expected) <= TOLERANCE, end


@BOTH
def test_cuts_through_skip_connections_equal_the_whole(
    fixture: str, name: str, request: pytest.FixtureRequest
) -> None:
    store: Store = request.getfixturevalue(fixture)
    onnx_bytes, graph, pixels = load(store, name)
    expected = run_whole(onnx_bytes, {"image": pixels})
    several = [
        cut
        for index in range(len(graph.operations) - 1)
        if len((cut := boundary_of_nodes(graph, [index])).tensors) > 1
    ]
    assert several
    for first in random.Random(1).sample(several, 4):
        later = [cut for cut in several if first.before < cut.before]
        cuts = [first, *later[-1:]]
        manifest = put_slices(store, graph, cuts, name)
        assert relative_error(run_chain(store, manifest, {"image": pixels}), expected) <= TOLERANCE


def test_the_batch_stays_free_through_every_segment(model_store: Store) -> None:
    _, graph, pixels = load(model_store, "efficientnet-lite0", batch=5)
    cuts = [boundary_of_tensors(graph, [name]) for name in ("block04", "block10", "pool")]
    manifest = put_slices(model_store, graph, cuts, "efficientnet-lite0")
    chain = SegmentChain(manifest, model_store)
    together = chain.run({"image": pixels}, 0, 4)["logits"]
    alone = [chain.run({"image": pixels[index : index + 1]}, 0, 4)["logits"] for index in range(5)]
    assert together.shape == (5, 1000)
    assert relative_error({"logits": together}, {"logits": np.concatenate(alone)}) <= TOLERANCE
