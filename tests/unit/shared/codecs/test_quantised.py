"""The error bounds of intN, per frame and static, and that it computes what ONNX's QuantizeLinear does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from support.codecs import CALIBRATIONS, LARGEST, ONE_RANGE, THREE_CHANNELS, encode, tensors, there_and_back
from tercet.codecs import parse_codec
from tercet.codecs.codec import Float32Array
from tercet.codecs.quantised import QuantisedCodec
from tercet.errors import TensorContractError, WireFormatError

BITS = (2, 3, 4, 5, 6, 7, 8)
# Rounding a range to float32 steps costs a little more than half a step.
MARGIN = 1 + 1e-3


def frame_step(array: Float32Array, bits: int, symmetric: bool, per_channel: bool) -> Float32Array:
    """The step that a channel's own range demands, spread over `array`, in float64."""
    axes = tuple(axis for axis in range(array.ndim) if not (per_channel and array.ndim >= 3 and axis == 1))
    exact = array.astype(np.float64)
    low = np.minimum(exact.min(axis=axes, keepdims=True), 0)
    high = np.maximum(exact.max(axis=axes, keepdims=True), 0)
    if symmetric:
        return np.maximum(-low, high) / (2 ** (bits - 1) - 1)
    return (high - low) / (2**bits - 1.002)


@settings(max_examples=300)
@given(
    array=tensors(LARGEST),
    bits=st.sampled_from(BITS),
    symmetric=st.booleans(),
    per_channel=st.booleans(),
)
@example(array=np.array([[-LARGEST, LARGEST]], np.float32), bits=2, symmetric=False, per_channel=True)
@example(array=np.array([[-LARGEST, LARGEST]], np.float32), bits=2, symmetric=True, per_channel=True)
@example(array=np.array([[[1e-45, -1e-45]]], np.float32), bits=4, symmetric=False, per_channel=True)
def test_per_frame_scales_keep_values_within_half_a_step(
    array: Float32Array, bits: int, symmetric: bool, per_channel: bool
) -> None:
    spec = f"int{bits}{'' if per_channel else ':tensor'}{':sym' if symmetric else ''}"
    encoded = encode(array, spec)
    found = there_and_back(array, spec)
    assert len(encoded.payload) == (array.size * bits + 7) // 8
    if not array.size:
        return
    channels = array.shape[1] if per_channel and array.ndim >= 3 else 1
    assert len(encoded.parameters) == channels * (4 if symmetric else 5)
    step = frame_step(array, bits, symmetric, per_channel)
    bound = np.maximum(step / 2 * MARGIN, 256 * np.finfo(np.float32).tiny)
    assert (np.abs(found.astype(np.float64) - array) <= bound).all()


@settings(max_examples=300)
@given(array=tensors(LARGEST), bits=st.sampled_from(BITS), symmetric=st.booleans())
def test_static_scales_bound_the_error_inside_the_range_and_saturate_outside(
    array: Float32Array, bits: int, symmetric: bool
) -> None:
    low, high = -2.0, 6.0
    step = 6 / (2 ** (bits - 1) - 1) if symmetric else 8 / (2**bits - 1)
    spec = f"int{bits}{':sym' if symmetric else ''}:static@{ONE_RANGE.digest}"
    assert encode(array, spec).parameters == b""
    found = there_and_back(array, spec).astype(np.float64)
    inside = (array >= low) & (array <= high)
    assert (np.abs(found - array)[inside] <= step / 2 * MARGIN).all()
    limits = (-6.0, 6.0) if symmetric else (low, high)
    assert (np.abs(found - np.clip(array, *limits)) <= step / 2 * MARGIN).all()


def test_static_scales_go_by_channel() -> None:
    spec = f"int8:static@{THREE_CHANNELS.digest}"
    array = np.array([[[-1, 0, 1, 2], [0, 3, 6.5, -1], [-300, -150, 0, 9]]], np.float32)
    found = there_and_back(array, spec)
    steps = np.array([2, 6.5, 300.25]).reshape(1, 3, 1) / 255
    ends = [[[-1, 0, 1, 1], [0, 3, 6.5, 0], [-300, -150, 0, 0.25]]]
    assert (np.abs(found - ends) <= steps / 2 * MARGIN).all()


@pytest.mark.parametrize("shape", [(1, 2, 4), (3,), (), (1, 4)])
def test_a_calibration_of_other_channels_is_refused_at_both_ends(shape: tuple[int, ...]) -> None:
    codec = parse_codec(f"int8:static@{THREE_CHANNELS.digest}", CALIBRATIONS)
    with pytest.raises(TensorContractError, match="calibrated for 3 channels on axis 1"):
        codec.encode(np.zeros(shape, np.float32))
    count = int(np.prod(shape))
    encoded = parse_codec("int8:tensor").encode(np.zeros(count, np.float32))
    with pytest.raises(WireFormatError):
        codec.decode(type(encoded)(encoded.payload), np.dtype(np.float32), shape)


def quantize_linear(array: Float32Array, scale: Float32Array, zero_point: Float32Array) -> Float32Array:
    """What ONNX Runtime's kernel gives: uint8 steps, as float32."""
    per_channel = len(scale) > 1
    kept = (lambda values: values) if per_channel else (lambda values: values.reshape(()))
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["y"], axis=1)
    graph = helper.make_graph(
        [node],
        "quantize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, array.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, array.shape)],
        [
            numpy_helper.from_array(kept(scale), "scale"),
            numpy_helper.from_array(kept(zero_point.astype(np.uint8)), "zero_point"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": array})[0]


@pytest.mark.parametrize("digest", [ONE_RANGE.digest, THREE_CHANNELS.digest])
def test_static_int8_is_bit_for_bit_the_runtimes_quantize_linear(digest: str) -> None:
    codec = parse_codec(f"int8:static@{digest}", CALIBRATIONS)
    assert isinstance(codec, QuantisedCodec)
    assert codec.static is not None
    generator = np.random.default_rng(5)
    array = generator.normal(0, 3, (2, 3, 50, 50)).astype(np.float32)
    scale = codec.static.scale.reshape(codec.static.spread(array.shape))
    # Many exact ties, where half up and half to even differ, and values far outside.
    array[:, :, :20] = np.rint(array[:, :, :20] * 20) / 2 * scale
    array[0, 0, 0, :4] = [1e30, -1e30, LARGEST, 1e-45]
    steps, _ = codec.to_steps(array)
    expected = quantize_linear(array, codec.static.scale, codec.static.zero_point)
    assert np.array_equal(steps.reshape(array.shape), expected)


def test_steps_of_more_bits_than_the_format_are_refused_before_an_entropy_stage() -> None:
    codec = parse_codec("int3+zstd")
    good = parse_codec("int4+zstd").encode(np.linspace(0, 1, 64, dtype=np.float32))
    with pytest.raises(WireFormatError, match=r"a step has more than 3 bits|zero point"):
        codec.decode(good, np.dtype(np.float32), (64,))


def test_a_zero_point_that_is_no_step_is_refused() -> None:
    encoded = parse_codec("int4").encode(np.linspace(0, 1, 8, dtype=np.float32))
    garbled = type(encoded)(encoded.payload, encoded.parameters[:4] + b"\x10")
    with pytest.raises(WireFormatError, match="zero point is not among the steps"):
        parse_codec("int4").decode(garbled, np.dtype(np.float32), (8,))
