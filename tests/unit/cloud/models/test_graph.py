"""What counts as an operation, a constant and an input, and which graphs are refused."""

from __future__ import annotations

import onnx
import pytest

from support.onnx_models import CAPTURE, EARLY_OUTPUT, RANDOM, SHARED_CONSTANT, SKIP, parse, parse_unchecked
from tercet.errors import SpecError
from tercet_cloud.models.graph import OnnxGraph


def op_types(graph: OnnxGraph) -> list[str]:
    return [operation.node.op_type for operation in graph.operations]


def test_operations_come_in_topological_order_and_know_their_tensors() -> None:
    graph = OnnxGraph(parse(SKIP))
    assert op_types(graph) == ["Relu", "Neg", "Exp", "Add", "Mul", "Sub"]
    assert graph.producer["d"] == 3
    assert graph.consumers["a"] == (1, 3)
    assert graph.operations[4].reads == ("d",)


def test_nodes_in_any_order_are_sorted() -> None:
    model = onnx.load_model_from_string(parse(SKIP))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph = OnnxGraph(model.SerializeToString())
    for operation in graph.operations:
        assert all(graph.producer.get(name, -1) < operation.index for name in operation.reads)


def test_what_depends_on_no_input_is_a_constant() -> None:
    graph = OnnxGraph(parse(SHARED_CONSTANT))
    assert op_types(graph) == ["Mul", "Relu", "Add", "Mul"]
    assert graph.is_constant("doubled")
    assert graph.is_constant("w")
    constants = graph.constants(["doubled"])
    assert [node.op_type for node in constants.nodes] == ["Add"]
    assert [item.name for item in constants.initializers] == ["w"]


def test_random_numbers_are_never_constants() -> None:
    graph = OnnxGraph(parse(RANDOM))
    assert not graph.is_constant("noise")
    assert sorted(op_types(graph)) == ["Add", "Exp", "Neg", "RandomNormal", "RandomUniform", "Relu", "Sub"]


def test_a_subgraph_reads_what_it_captures() -> None:
    graph = OnnxGraph(parse(CAPTURE))
    branch = graph.operations[-1]
    assert branch.node.op_type == "If"
    assert set(branch.reads) == {"positive", "a", "b", "x"}
    assert branch.constants == ("w",)


def test_an_initializer_listed_as_input_is_no_input() -> None:
    model = onnx.load_model_from_string(parse(SHARED_CONSTANT))
    model.ir_version = 3
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4]))
    assert OnnxGraph(model.SerializeToString()).inputs == ("x",)


def test_what_no_output_needs_is_left_out() -> None:
    graph = OnnxGraph(parse("dead (float[4] x) => (float[4] y) { y = Relu(x) d = Exp(x) e = Neg(d) }"))
    assert op_types(graph) == ["Relu"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (float[4] x) => (float[4] y) { y = Add(x, z) z = Relu(y) }", "cycle through Add"),
        ("g (float[4] x) => (float[4] y) { y = Add(x, ghost) }", "'ghost', which nothing gives"),
        ("g (float[4] x) => (float[4] y) { a = Relu(x) }", "output 'y' of this model is given by nothing"),
        ("g (float[4] x) => (float[4] x) { }", "computes nothing"),
        ("g (float[4] x) => () { y = Relu(x) }", "computes nothing"),
        ("g (float[4] x) => (float[4] x) { y = Relu(x) }", "computes nothing"),
        ("g (float[4] x) => (float[4] y) { y = Relu(x) y = Exp(x) }", "'y' is given twice"),
    ],
)
def test_an_impossible_graph_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        OnnxGraph(parse_unchecked(text))


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(SpecError, match="not an ONNX file"):
        OnnxGraph(b"\xff\xfe no model")
    with pytest.raises(SpecError, match="computes nothing"):
        OnnxGraph(b"")


def test_weights_in_other_files_are_refused() -> None:
    model = onnx.load_model_from_string(parse(SHARED_CONSTANT))
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(SpecError, match="weights in other files"):
        OnnxGraph(model.SerializeToString())


def test_outputs_keep_the_models_order() -> None:
    assert OnnxGraph(parse(EARLY_OUTPUT)).outputs == ("first", "last")
