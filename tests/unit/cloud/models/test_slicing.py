"""Segments of small graphs with every difficulty that large ones have."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest

from support.chains import Tensors, put_slices, relative_error, run_chain, run_whole
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
from tercet.errors import SpecError
from tercet.inference.segment_chain import SegmentChain
from tercet.models.store import Store
from tercet_cloud.models.boundaries import Cut, boundary_of_nodes, boundary_of_tensors
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.slicing import slice_model

TOLERANCE = 1e-5


def all_cuts(graph: OnnxGraph) -> list[Cut]:
    """Every cut of a small graph."""
    indices = range(len(graph.operations))
    subsets = itertools.chain.from_iterable(itertools.combinations(indices, size) for size in indices)
    return sorted(
        {boundary_of_nodes(graph, subset) for subset in subsets if subset}, key=lambda cut: len(cut.before)
    )


def inputs_of(graph: OnnxGraph) -> Tensors:
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=(3, 4)).astype(np.float32) for name in graph.inputs}


@pytest.mark.parametrize(
    "text",
    [SKIP, EARLY_OUTPUT, LATE_INPUT, PASSED_THROUGH, SHARED_CONSTANT, CAPTURE, LOOP],
    ids=["skip", "early-output", "late-input", "passed-through", "shared-constant", "capture", "loop"],
)
def test_every_pair_of_cuts_equals_the_whole(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    onnx_bytes = parse(text)
    graph = OnnxGraph(onnx_bytes)
    store = Store(tmp_path_factory.mktemp("store"))
    tensors = inputs_of(graph)
    expected = run_whole(onnx_bytes, tensors)
    cuts = [cut for cut in all_cuts(graph) if len(cut.before) < len(graph.operations)]
    chosen: list[list[Cut]] = [[], *([cut] for cut in cuts)]
    chosen += [list(pair) for pair in itertools.combinations(cuts, 2) if pair[0].before < pair[1].before]
    assert len(chosen) >= 2
    for each in chosen:
        manifest = put_slices(store, graph, each)
        assert relative_error(run_chain(store, manifest, tensors), expected) <= TOLERANCE


def test_what_is_carried_is_not_computed_again() -> None:
    graph = OnnxGraph(parse(LATE_INPUT))
    manifest, files = slice_model(graph, "late", [boundary_of_tensors(graph, ["a", "mask"])])
    assert manifest.segments[0].inputs == ("x",)
    assert manifest.segments[0].outputs == ("a",)
    assert manifest.segments[1].inputs == ("mask", "a")
    nodes = [node.op_type for data in files for node in onnx.load_model_from_string(data).graph.node]
    assert nodes == ["Relu", "Exp", "Mul"]


def test_an_output_that_is_an_input_passes_every_segment() -> None:
    graph = OnnxGraph(parse(PASSED_THROUGH))
    manifest, _ = slice_model(graph, "passed", [boundary_of_tensors(graph, ["note", "a"])])
    assert [boundary.names for boundary in manifest.boundaries] == [{"x", "note"}, {"note", "a"}, {"note", "y"}]
    assert not any("note" in (*segment.inputs, *segment.outputs) for segment in manifest.segments)


def test_a_constant_goes_to_every_segment_that_needs_it_and_to_no_other() -> None:
    graph = OnnxGraph(parse(SHARED_CONSTANT))
    cuts = [boundary_of_tensors(graph, [name]) for name in "ab"]
    manifest, files = slice_model(graph, "shared", cuts)
    weights = [[item.name for item in onnx.load_model_from_string(data).graph.initializer] for data in files]
    assert weights == [["w"], [], ["w"]]
    assert manifest.boundaries[1].names == {"a"}


def test_random_numbers_are_drawn_once_and_carried(tmp_path_factory: pytest.TempPathFactory) -> None:
    graph = OnnxGraph(parse(RANDOM))
    store = Store(tmp_path_factory.mktemp("store"))
    manifest = put_slices(store, graph, [boundary_of_tensors(graph, ["c", "noise"])])
    x = np.ones((3, 4), np.float32)
    found = SegmentChain(manifest, store).run({"x": x}, 0, 2)
    assert relative_error({"y": found["y"]}, {"y": np.exp(x)}) <= TOLERANCE


def test_the_same_stretch_gives_the_same_bytes_wherever_else_the_model_is_cut() -> None:
    graph = OnnxGraph(parse(SKIP))
    a, d = (boundary_of_tensors(graph, [name]) for name in "ad")
    once, files = slice_model(graph, "skip", [a, d])
    again, same_files = slice_model(OnnxGraph(parse(SKIP)), "skip", [a, d])
    assert (once, files) == (again, same_files)
    other, _ = slice_model(graph, "skip", [d])
    assert other.segments[-1] == once.segments[-1]
    assert other.sha256 != once.sha256


def test_notes_of_the_exporter_do_not_reach_a_segment() -> None:
    model = onnx.load_model_from_string(parse(SKIP))
    noisy = onnx.load_model_from_string(parse(SKIP))
    for node in noisy.graph.node:
        node.doc_string = "line 1 of some file"
        node.metadata_props.add(key="stack", value="trace")
    noisy.producer_name = "somebody"
    sliced = [slice_model(OnnxGraph(item.SerializeToString()), "skip", [])[1] for item in (model, noisy)]
    assert sliced[0] == sliced[1]


def test_local_functions_travel_with_their_callers() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]>'
        "calls (float[N, 4] x) => (float[N, 4] y) { a = Relu(x) b = own.twice(a) y = Neg(b) }"
        '<domain: "own", opset_import: ["" : 17]> twice (v) => (w) { w = Add(v, v) }'
    )
    graph = OnnxGraph(model.SerializeToString())
    _, files = slice_model(graph, "calls", [boundary_of_tensors(graph, [name]) for name in "ab"])
    counts = [len(onnx.load_model_from_string(data).functions) for data in files]
    assert counts == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "g (float[N] x) => (float[N] y) { s = SequenceConstruct(x) i = Constant <value_int = 0> () "
            "y = SequenceAt(s, i) }",
            "'s' is a sequence, only tensors cross",
        ),
        ("g (float[N] x) => (float[N] y) { s = Cast <to = 16> (x) y = Cast <to = 1> (s) }", "'s' is bfloat16"),
        (
            "g (float[N] x, int64[M] shape) => (float[N] y) { s = Reshape(x, shape) y = Identity(s) }",
            "dtype and rank of tensor 's' are not known",
        ),
    ],
    ids=["sequence", "dtype", "rank"],
)
def test_a_tensor_that_cannot_cross_is_refused(text: str, reason: str) -> None:
    graph = OnnxGraph(parse(text))
    with pytest.raises(SpecError, match=reason):
        slice_model(graph, "bad", [boundary_of_tensors(graph, ["s"])])


def test_a_free_size_is_none_and_a_known_one_is_kept() -> None:
    graph = OnnxGraph(parse(SKIP))
    manifest, _ = slice_model(graph, "skip", [boundary_of_tensors(graph, ["d"])])
    assert manifest.boundaries[1].tensors[0].shape == (None, 4)
    assert manifest.boundaries[1].tensors[0].dtype == "float32"
