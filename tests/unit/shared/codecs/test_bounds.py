"""The error bounds that fp16 and per-frame int8 state, over all of float32, and what their decoders refuse."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tercet.codecs import EncodedTensor, parse_codec
from tercet.codecs.codec import Float32Array
from tercet.errors import TensorContractError, TercetError

FLOAT32 = np.dtype(np.float32)
LARGEST = float(np.finfo(np.float32).max)
shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
# Channels of one magnitude each, from subnormal to the largest, which uniform floats hardly ever give.
magnitudes = st.sampled_from([1e-45, 1e-40, 1.2e-38, 3e-36, 1e-20, 1e-3, 1.0, 6e4, 1e10, 1e38, LARGEST])


def tensors(elements: st.SearchStrategy[float] = finite) -> st.SearchStrategy[Float32Array]:
    return arrays.arrays(np.float32, shapes, elements=elements)


@st.composite
def channelled(draw: st.DrawFn) -> Float32Array:
    """(N, C, H): each channel has its own magnitude, and is mixed, only positive, only negative or constant."""
    batch, channels, length = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = generator.uniform(-1, 1, (batch, channels, length))
    for channel in range(channels):
        kind = draw(st.sampled_from(["mixed", "positive", "negative", "constant", "offset"]))
        part = values[:, channel]
        if kind in ("positive", "negative"):
            part = np.abs(part) * (1 if kind == "positive" else -1)
        elif kind == "constant":
            part = np.full_like(part, part[0, 0])
        elif kind == "offset":
            part = 1 - np.abs(part) / 1000
        values[:, channel] = part * draw(magnitudes)
    return values.astype(np.float32)


def there_and_back(array: Float32Array, spec: str) -> tuple[npt.NDArray[Any], EncodedTensor]:
    codec = parse_codec(spec)
    encoded = codec.encode(array)
    sent = EncodedTensor(bytes(encoded.payload), encoded.parameters)
    return codec.decode(sent, array.dtype.newbyteorder("="), array.shape), sent


def assert_fp16_bound(array: Float32Array) -> None:
    found, encoded = there_and_back(array, "fp16")
    exact = array.astype(np.float64)
    assert (np.abs(found - exact) <= np.maximum(2**-11 * np.abs(exact), 2**-25)).all()
    assert not found[array == 0].any()
    assert len(encoded.payload) == 2 * array.size


@given(array=tensors(st.floats(-65519, 65519, width=32)))
@example(array=np.array([65519.996, -65519.996, 6e-8, 2.9e-8, 1e-45, 6.1e-5, 1.0009766], np.float32))
def test_fp16_is_as_close_as_it_says(array: Float32Array) -> None:
    assert_fp16_bound(array)


@given(array=tensors(st.floats(-(2**-13), 2**-13, width=32)))
def test_fp16_is_as_close_as_it_says_among_subnormals(array: Float32Array) -> None:
    assert_fp16_bound(array)


def test_fp16_says_how_far_a_tensor_reaches_beyond_it() -> None:
    parse_codec("fp16").encode(np.array([np.nextafter(np.float32(65520), np.float32(0))]))
    for reach in (65520, -65520, LARGEST):
        with pytest.raises(TensorContractError, match=r"up to 65504.*use raw or int8"):
            parse_codec("fp16").encode(np.array([1, reach], np.float32))


def int8_scales(array: Float32Array, encoded: EncodedTensor) -> npt.NDArray[np.float64]:
    channels = array.shape[1] if array.ndim >= 3 else 1
    assert len(encoded.parameters) == 5 * channels
    scales = np.frombuffer(encoded.parameters, "<f4", channels).astype(np.float64)
    return scales.reshape(
        [-1 if axis == 1 else 1 for axis in range(array.ndim)] if array.ndim >= 3 else [1] * array.ndim
    )


def assert_int8_bound(array: Float32Array) -> None:
    found, encoded = there_and_back(array, "int8")
    assert np.isfinite(found).all()
    if not array.size:
        assert encoded.size_bytes == 0
        return
    assert len(encoded.payload) == array.size
    scales = int8_scales(array, encoded)
    error = np.abs(found.astype(np.float64) - array)
    assert (error <= scales / 2 * (1 + 1e-3)).all()
    assert not found[array == 0].any()
    low, high = np.minimum(array, 0).astype(np.float64), np.maximum(array, 0).astype(np.float64)
    axes = tuple(axis for axis in range(array.ndim) if array.ndim < 3 or axis != 1)
    spread = high.max(axis=axes, keepdims=True) - low.min(axis=axes, keepdims=True)
    # The promise is worth something: a step is 1/255 of the channel's range, unless that is almost nothing.
    usual = spread > 256 * np.finfo(np.float32).tiny
    assert (scales <= np.where(usual, spread / 254.99, 1)).all()
    assert (error <= np.where(usual, spread / 500, 256 * np.finfo(np.float32).tiny)).all()


@given(array=tensors())
@example(array=np.array([[-LARGEST, LARGEST]], np.float32))
@example(array=np.array([[[-LARGEST, LARGEST], [-1e-45, 1e-45]]], np.float32))
@example(array=np.array([0.0, -0.0], np.float32))
@example(array=np.array([LARGEST], np.float32))
@example(array=np.array([-LARGEST], np.float32))
def test_int8_is_as_close_as_it_says_for_any_values(array: Float32Array) -> None:
    assert_int8_bound(array)


@settings(max_examples=300)
@given(array=channelled())
def test_int8_is_as_close_as_it_says_for_channels_of_any_magnitude(array: Float32Array) -> None:
    assert_int8_bound(array)


@pytest.mark.parametrize("split", np.linspace(0, 1, 41).tolist())
def test_int8_rounds_to_the_nearest_step_wherever_zero_lies(split: float) -> None:
    """Fine ramps over ranges around zero: the ends are where rounding could leave 0…255."""
    array = np.linspace(-split, 1 - split, 20_001, dtype=np.float32)
    found, encoded = there_and_back(array, "int8")
    assert (np.abs(found.astype(np.float64) - array) <= int8_scales(array, encoded) / 2 * (1 + 1e-3)).all()
    assert np.array_equal(found, np.sort(found))


def test_int8_channels_do_not_disturb_each_other() -> None:
    array = np.stack([np.full(4, 1e30), np.linspace(-1, 1, 4)])[np.newaxis].astype(np.float32)
    found, _ = there_and_back(array, "int8")
    assert np.abs(found[0, 1] - array[0, 1]).max() < 0.01


@pytest.mark.parametrize("spec", ["fp16", "int8"])
@given(array=tensors(st.floats(-1000, 1000, width=32)))
def test_coding_twice_moves_nothing_further_than_once(spec: str, array: Float32Array) -> None:
    """A tier that decodes and codes again with the same codec adds at most one more rounding."""
    once, _ = there_and_back(array, spec)
    twice, encoded = there_and_back(once, spec)
    step = 0.0 if spec == "fp16" or not array.size else int8_scales(array, encoded).max()
    assert np.abs(twice.astype(np.float64) - once).max(initial=0) <= step


@given(payload=st.binary(min_size=12, max_size=12), parameters=st.binary(min_size=15, max_size=15))
@example(payload=bytes(12), parameters=np.full(3, LARGEST, "<f4").tobytes() + b"\xff\xff\xff")
@example(payload=b"\xff" * 12, parameters=np.full(3, 1e37, "<f4").tobytes() + b"\0\0\0")
def test_any_int8_parameters_of_the_right_size_give_finite_values_or_are_refused(
    payload: bytes, parameters: bytes
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = parse_codec("int8").decode(EncodedTensor(payload, parameters), FLOAT32, (2, 3, 2))
        except TercetError:
            return
    assert np.isfinite(found).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_int8_scales_that_no_encoder_sends_are_refused(scale: float) -> None:
    parameters = np.array([1, scale], "<f4").tobytes() + b"\0\0"
    with pytest.raises(TercetError, match="finite and positive"):
        parse_codec("int8").decode(EncodedTensor(bytes(4), parameters), FLOAT32, (1, 2, 2))


@given(payload=st.binary(min_size=8, max_size=8))
@example(payload=b"\x00\x7c" * 4)
@example(payload=b"\x01\xfc" + bytes(6))
def test_any_fp16_payload_gives_finite_values_or_is_refused(payload: bytes) -> None:
    halves = np.frombuffer(payload, "<f2")
    try:
        found = parse_codec("fp16").decode(EncodedTensor(payload), FLOAT32, (2, 2))
    except TercetError:
        assert not np.isfinite(halves).all()
        return
    assert np.array_equal(found.reshape(-1), halves.astype(np.float32))
    assert np.isfinite(found).all()
