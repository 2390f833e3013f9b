"""ONNX Runtime's QuantizeLinear gives the numpy codec's steps, bit for bit, whatever the values."""

from __future__ import annotations

from importlib import resources

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper

from tercet.codecs.calibration import TensorCalibration
from tercet.codecs.codec import Float32Array
from tercet.codecs.quantised import QuantisedFormat
from tercet.codecs.scales import Scales, calibrated_scales
from tercet.codecs.step_kernel import NumpyKernel
from tercet.errors import TensorContractError
from tercet.inference.quantise_kernel import GRAPH, MeasuredKernel, OnnxRuntimeKernel

KERNEL = OnnxRuntimeKernel()
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def scales_of(low: list[float], high: list[float], bits: int = 8, symmetric: bool = False) -> Scales:
    ranges = TensorCalibration(tensor="a", axis=1 if len(low) > 1 else None, low=tuple(low), high=tuple(high))
    return calibrated_scales(ranges, QuantisedFormat(bits, symmetric=symmetric))


def assert_same(source: Float32Array, scales: Scales) -> None:
    expected = NumpyKernel().steps(source, scales, "int8")
    found = KERNEL.steps(source, scales, "int8")
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 9)), elements=FINITE),
    st.integers(2, 8),
    st.booleans(),
)
def test_any_values_over_any_ranges(source: Float32Array, bits: int, symmetric: bool) -> None:
    assert_same(source, scales_of([-1.0, 0.0, -3e-5], [2.5, 6.0, 1e-5], bits, symmetric))


@pytest.mark.parametrize("bits", range(2, 9))
def test_halves_between_two_steps(bits: int) -> None:
    # Steps of exactly one: every half has two nearest, and both kernels must take the even one.
    scales = scales_of([0.0], [float(2**bits - 1)], bits)
    source = np.arange(-4, 2 * 2**bits, dtype=np.float32).reshape(1, 1, -1) / 2
    assert_same(source, scales)


@pytest.mark.parametrize("shape", [(1, 192, 7, 7), (2, 80, 14, 14), (3, 5)])
def test_activations_as_large_as_real_ones(shape: tuple[int, ...]) -> None:
    source = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    low = np.minimum(source.min(axis=axes), 0) * 0.7
    high = np.maximum(source.max(axis=axes), 0) * 0.7
    for bits in (8, 4, 3):
        assert_same(source, scales_of([float(x) for x in low], [float(x) for x in high], bits))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    source = np.zeros((1, 1, 100), np.float32)
    source[0, 0, 57] = bad
    with pytest.raises(TensorContractError, match="finite"):
        KERNEL.steps(source, scales_of([-1.0], [1.0]), "int8")


def test_the_largest_finite_values_are_not_taken_for_infinity() -> None:
    source = np.full((1, 1, 4), np.finfo(np.float32).max, np.float32)
    source[0, 0, 1:] *= -1
    assert_same(source, scales_of([-1.0], [1.0]))


def test_the_faster_kernel_is_found_by_trying_both_and_all_give_the_same() -> None:
    kernel = MeasuredKernel()
    scales = scales_of([-1.0], [1.0])
    source = np.random.default_rng(0).standard_normal((1, 4, 500)).astype(np.float32)
    expected = NumpyKernel().steps(source, scales, "int8")
    for _ in range(20):
        np.testing.assert_array_equal(kernel.steps(source, scales, "int8"), expected)
    assert kernel.chosen().keys() == {"<2048"}


def quantize_linear_graph() -> bytes:
    """The committed graph, made anew."""
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["steps"], axis=1)],
        "quantize-linear",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "channels", "places"]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, ["channels"]),
            helper.make_tensor_value_info("zero_point", TensorProto.UINT8, ["channels"]),
        ],
        [helper.make_tensor_value_info("steps", TensorProto.UINT8, ["rows", "channels", "places"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_the_committed_graph_is_the_one_that_is_meant() -> None:
    committed = resources.files("tercet.inference").joinpath(GRAPH).read_bytes()
    assert committed == quantize_linear_graph()
