"""Weights are counted once, and what flows as it was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.coding_samples import graph_of, noise_samples
from support.onnx_models import SHARED_CONSTANT, parse
from support.tiny_classifier import CLASSES, tiny_classifier
from tercet.models.store import Store
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.op_memory import activation_bytes, weights_bytes
from tercet_cloud.planner.measuring.coding_measurement import measure_coding

CONSTANT_NODE = """held (float[N, 2] x) => (float[N, 2] y) {
    w = Constant <value = float[2] {1.0, 2.0}> ()
    a = Mul(x, w)
    y = Add(a, w)
}"""


def test_shared_weights_count_for_their_first_user() -> None:
    graph = OnnxGraph(parse(SHARED_CONSTANT))
    # w, and doubled made from it; Add(w, w) is a constant itself.
    assert weights_bytes(graph).tolist() == [16, 0, 0, 0]


def test_values_of_constant_nodes_are_weights() -> None:
    assert weights_bytes(OnnxGraph(parse(CONSTANT_NODE))).tolist() == [8, 0]


def test_the_weights_of_a_model_are_its_initializers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    card = tiny_classifier(store)
    expected = 4 * (4 * 3 * 9 + 4 * 4 * 9 + 64 * CLASSES) + 8 * 2
    assert weights_bytes(graph_of(store, card)).sum() == expected


def test_activations_are_as_measured(tmp_path: Path) -> None:
    store = Store(tmp_path)
    card = tiny_classifier(store)
    graph = graph_of(store, card)
    found = activation_bytes(graph, measure_coding(store, card, graph, noise_samples(), ("raw",)))
    payloads = np.array([1024, 1024, 256, 256, 256, 16])
    assert ((found > payloads) & (found < payloads + 60)).all()
