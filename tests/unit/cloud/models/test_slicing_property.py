"""Random graphs cut at random places: the chain of segments always equals the whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from support.chains import put_slices, relative_error, run_chain, run_whole
from tercet.models.store import Store
from tercet_cloud.models.boundaries import Cut, block_ends, boundary_of_nodes, boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph

TOLERANCE = 1e-5
BATCH, WIDTH = 3, 4


def split(tensor: str, parts: list[str]) -> onnx.NodeProto:
    return helper.make_node("Split", [tensor], parts, axis=-1, num_outputs=len(parts))


def weight(generator: np.random.Generator) -> npt.NDArray[np.float32]:
    return generator.normal(size=(BATCH, WIDTH)).astype(np.float32)


@st.composite
def models(draw: st.DrawFn) -> bytes:
    """A DAG of cheap operations on (N, 4), with inputs, weights, constants of weights and outputs anywhere."""
    inputs = [f"in{index}" for index in range(draw(st.integers(1, 3)))]
    weights = [f"w{index}" for index in range(draw(st.integers(0, 2)))]
    tensors, flowing, nodes = [*inputs, *weights], set(inputs), list[onnx.NodeProto]()
    for index in range(draw(st.integers(2, 14))):
        # Recent tensors more often: chains with some long skips. The first operation reads an input.
        choices = tensors if draw(st.booleans()) else tensors[-3:]
        first, second = (draw(st.sampled_from(choices if index else inputs)) for _ in range(2))
        name = f"t{index}"
        made = [name]
        match draw(st.sampled_from(["Add", "Mul", "Relu", "Neg", "Tanh", "Concat", "Split"])):
            case ("Add" | "Mul") as kind:
                nodes.append(helper.make_node(kind, [first, second], made))
            case "Concat":
                made = [name, f"{name}_right"]
                nodes.append(helper.make_node("Concat", [first, second], [f"{name}_wide"], axis=-1))
                nodes.append(split(f"{name}_wide", made))
            case "Split":
                halves = [f"{name}_low", f"{name}_high"]
                nodes.append(split(first, halves))
                nodes.append(helper.make_node("Concat", halves[::-1], made, axis=-1))
                second = first
            case kind:
                nodes.append(helper.make_node(kind, [first], made))
                second = first
        tensors.extend(made)
        if {first, second} & flowing:
            flowing.update(made)
    computed = tensors[len(inputs) + len(weights) :]
    last = [name for name in computed if name in flowing][-1]
    outputs = dict.fromkeys([last, *draw(st.lists(st.sampled_from(computed), max_size=2))])
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, WIDTH]) for name in outputs],
        [
            numpy_helper.from_array(generator.normal(size=(BATCH, WIDTH)).astype(np.float32), name)
            for name in weights
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


@settings(max_examples=200, deadline=None, derandomize=True)
@given(models(), st.data())
def test_random_graphs_at_random_nested_cuts_equal_the_whole(onnx_bytes: bytes, data: st.DataObject) -> None:
    graph = OnnxGraph(onnx_bytes)
    count = len(graph.operations)
    cuts: list[Cut] = []
    for chosen in data.draw(st.lists(st.sets(st.integers(0, count - 1), min_size=1, max_size=3), max_size=3)):
        before = cuts[-1].before if cuts else frozenset[int]()
        cut = boundary_of_nodes(graph, before | chosen)
        if before < cut.before and len(cut.before) < count:
            cuts.append(cut)
    generator = np.random.default_rng(0)
    tensors = {name: generator.normal(size=(BATCH, WIDTH)).astype(np.float32) for name in graph.inputs}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        manifest = put_slices(store, graph, cuts)
        assert relative_error(run_chain(store, manifest, tensors), run_whole(onnx_bytes, tensors)) <= TOLERANCE
    for cut in cuts:
        assert boundary_of_tensors(graph, cut.tensors) == cut


@settings(max_examples=200, deadline=None, derandomize=True)
@given(models())
def test_block_ends_of_random_graphs_are_those_found_by_trying_all(onnx_bytes: bytes) -> None:
    graph = OnnxGraph(onnx_bytes)
    tried = [boundary_of_nodes(graph, [operation.index]) for operation in graph.operations]
    found = {cut.tensors[0] for cut in tried if len(cut.tensors) == 1 and len(cut.before) < len(tried)}
    assert set(block_ends(graph)) == found
    for name in block_ends(graph):
        assert boundary_of_tensors(graph, [name]).tensors == (name,)
