"""Where a model can be cut, and what is said about places where it cannot."""

from __future__ import annotations

import re

import pytest

from support.onnx_models import CAPTURE, EARLY_OUTPUT, LATE_INPUT, RANDOM, SHARED_CONSTANT, SKIP, parse
from tercet.errors import SpecError
from tercet_cloud.models.boundaries import (
    block_ends,
    boundary_of_nodes,
    boundary_of_tensors,
    require_nested,
)
from tercet_cloud.models.graph import OnnxGraph


def graph_of(text: str) -> OnnxGraph:
    return OnnxGraph(parse(text))


def brute_force_block_ends(graph: OnnxGraph) -> set[str]:
    cuts = [boundary_of_nodes(graph, [index]) for index in range(len(graph.operations))]
    return {cut.tensors[0] for cut in cuts if len(cut.tensors) == 1 and len(cut.before) < len(graph.operations)}


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (SKIP, ("a", "d")),
        (EARLY_OUTPUT, ("first",)),
        (LATE_INPUT, ()),
        (SHARED_CONSTANT, ("a", "b", "c")),
        (CAPTURE, ()),
        (RANDOM, ("a", "b", "y")),
    ],
    ids=["skip", "early-output", "late-input", "shared-constant", "capture", "random"],
)
def test_block_ends_are_all_places_where_one_tensor_crosses(text: str, ends: tuple[str, ...]) -> None:
    graph = graph_of(text)
    assert block_ends(graph) == ends
    assert brute_force_block_ends(graph) == set(ends)


def test_a_boundary_holds_everything_that_is_needed_later() -> None:
    skip = graph_of(SKIP)
    assert boundary_of_nodes(skip, [1]).tensors == ("a", "b")
    assert boundary_of_nodes(skip, [4]).tensors == ("d", "e")
    assert boundary_of_tensors(skip, ["b", "a"]) == boundary_of_nodes(skip, [1])


def test_an_early_output_and_a_late_input_cross() -> None:
    assert boundary_of_tensors(graph_of(EARLY_OUTPUT), ["first", "b"]).tensors == ("first", "b")
    assert boundary_of_tensors(graph_of(LATE_INPUT), ["a", "mask"]).tensors == ("mask", "a")


@pytest.mark.parametrize(
    ("text", "names", "reason"),
    [
        (SKIP, ["b"], "b is not a cut: a crosses there as well; cut at a,b, or where one tensor crosses: a or d"),
        (SKIP, ["a", "e"], "a, e is not a cut: a is used up before the others are made; leave it out"),
        (SKIP, ["e"], "d crosses there as well"),
        (SKIP, ["aa"], "no tensor 'aa'; did you mean a"),
        (SKIP, ["nowhere"], "no tensor 'nowhere'; one tensor crosses at a, d"),
        (SKIP, ["x"], "the model starts here"),
        (SKIP, ["y"], "the model ends here"),
        (SKIP, [], "at least one tensor"),
        (LATE_INPUT, ["a"], "mask crosses there as well"),
        (LATE_INPUT, ["q"], "no single tensor cuts this model, name several"),
        (EARLY_OUTPUT, ["b"], "first crosses there as well"),
        (SHARED_CONSTANT, ["w"], "'w' is a constant"),
        (SHARED_CONSTANT, ["doubled"], "'doubled' is a constant"),
    ],
)
def test_tensors_that_are_no_cut_are_refused_with_what_to_do(text: str, names: list[str], reason: str) -> None:
    with pytest.raises(SpecError, match=re.escape(reason)):
        boundary_of_tensors(graph_of(text), names)


def test_boundaries_must_follow_the_data() -> None:
    graph = graph_of(SKIP)
    a, d = (boundary_of_tensors(graph, [name]) for name in "ad")
    require_nested(graph, [a, d])
    with pytest.raises(SpecError, match="d does not come before a"):
        require_nested(graph, [d, a])
    with pytest.raises(SpecError, match="a does not come before a"):
        require_nested(graph, [a, a])


def test_the_message_stays_short_for_long_models() -> None:
    chain = "\n".join(f"t{index + 1} = Relu(t{index})" for index in range(100))
    graph = graph_of(f"long (float[4] t0) => (float[4] t100) {{ {chain} }}")
    assert len(block_ends(graph)) == 99
    with pytest.raises(SpecError, match="99 in all") as caught:
        boundary_of_tensors(graph, ["nowhere"])
    assert len(str(caught.value)) < 300
