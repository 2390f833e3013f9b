"""Free axes of a model's inputs are bound by options, or refused with the option that binds them."""

from __future__ import annotations

import onnx
import pytest

from support.onnx_models import parse
from tercet.errors import SpecError
from tercet_cloud.measurement.input_shapes import bind_shapes, parse_shape_options
from tercet_cloud.models.graph import OnnxGraph

LINES = "lines (float[N, 3, 48, W] x) => (float[N, 3, 48, W] y) { y = Relu(x) }"
TOKENS = """tokens (int64[N, T] ids, int64[N, T] mask) => (int64[N, T] y) { y = Add(ids, mask) }"""


@pytest.mark.parametrize("text", ["x", "x=", "x=1x", "=1x3", "x=1x-3", "x=ax3", "x=1x0", "x=1,3"])
def test_a_shape_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SpecError, match=r"--shape x=1x3x48x320|given twice"):
        parse_shape_options([text])


def test_a_shape_given_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="twice"):
        parse_shape_options(["x=1x3", "x=1x4"])


def test_names_of_inputs_may_hold_anything() -> None:
    assert parse_shape_options(["a=b:0=1x3", "y=7"]) == {"a=b:0": (1, 3), "y": (7,)}


def test_a_free_first_axis_is_one_frame_and_other_free_axes_need_the_option() -> None:
    graph = OnnxGraph(parse(LINES))
    assert bind_shapes(graph, {"x": (1, 3, 48, 320)}) == {"x": (1, 3, 48, 320)}
    with pytest.raises(SpecError, match=r"'x'.*1x3x48x\?.*--shape x=1x3x48x64"):
        bind_shapes(graph, {})
    assert bind_shapes(OnnxGraph(parse("m (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")), {}) == {
        "x": (1, 4)
    }


def test_axes_of_one_name_are_bound_together() -> None:
    graph = OnnxGraph(parse(TOKENS))
    assert bind_shapes(graph, {"ids": (2, 16)}) == {"ids": (2, 16), "mask": (2, 16)}
    assert bind_shapes(graph, {"ids": (1, 16), "mask": (1, 8)}) == {"ids": (1, 16), "mask": (1, 8)}


def test_axes_of_a_name_that_means_nothing_are_not_bound_together() -> None:
    model = onnx.load_model_from_string(parse(TOKENS))
    for item in model.graph.input:
        for dim in item.type.tensor_type.shape.dim:
            dim.dim_param = "?"
    graph = OnnxGraph(model.SerializeToString())
    assert bind_shapes(graph, {"ids": (2, 16), "mask": (1, 16)}) == {"ids": (2, 16), "mask": (1, 16)}
    with pytest.raises(SpecError, match="--shape mask="):
        bind_shapes(graph, {"ids": (2, 16)})


def test_axes_of_minus_one_are_free() -> None:
    model = onnx.load_model_from_string(parse(LINES))
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = -1
    with pytest.raises(SpecError, match=r"1x3x48x\?"):
        bind_shapes(OnnxGraph(model.SerializeToString()), {})


@pytest.mark.parametrize("shape", [(1, 3, 47, 320), (3, 48, 320)])
def test_a_shape_that_the_model_does_not_take_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"declares \?x3x48x\?"):
        bind_shapes(OnnxGraph(parse(LINES)), {"x": shape})


def test_a_shape_for_no_input_is_refused() -> None:
    with pytest.raises(SpecError, match="inputs are x"):
        bind_shapes(OnnxGraph(parse(LINES)), {"z": (1,)})
