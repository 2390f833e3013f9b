"""What every codec promises, whatever its stages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.codecs import CALIBRATIONS, EXACT, FLOAT32, LOSSY, decode, encode, shapes, tensors, there_and_back
from tercet.codecs import EncodedTensor, parse_codec
from tercet.codecs.codec import Array, Float32Array
from tercet.errors import TensorContractError, TercetError

EVERY = (*EXACT, *LOSSY)


@settings(max_examples=400)
@given(spec=st.sampled_from(EVERY), array=tensors())
def test_shape_and_dtype_come_back_and_the_input_is_left_alone(spec: str, array: Float32Array) -> None:
    before = array.tobytes()
    array.flags.writeable = False
    encoded = encode(array, spec)
    found = decode(encoded, array.shape, spec)
    assert array.tobytes() == before
    assert (found.dtype, found.shape) == (FLOAT32, array.shape)
    assert np.isfinite(found).all()
    assert len(encoded.payload) <= parse_codec(spec, CALIBRATIONS).max_payload_bytes(FLOAT32, array.shape)
    if not array.size:
        assert encoded.size_bytes == 0


@given(spec=st.sampled_from(EVERY), array=tensors())
def test_coding_is_the_same_every_time(spec: str, array: Float32Array) -> None:
    assert encode(array, spec) == encode(array.copy(), spec)


@given(spec=st.sampled_from(EVERY), array=tensors())
def test_layout_and_byte_order_of_the_input_do_not_matter(spec: str, array: Float32Array) -> None:
    expected = there_and_back(array, spec)
    backwards = np.ascontiguousarray(array[..., ::-1])[..., ::-1] if array.ndim else array
    for other in (np.array(array, order="F"), backwards, array.astype(">f4")):
        assert np.array_equal(there_and_back(other, spec), expected)


@given(spec=st.sampled_from(EXACT), array=tensors())
def test_codecs_without_loss_keep_every_bit(spec: str, array: Float32Array) -> None:
    assert there_and_back(array, spec).tobytes() == array.tobytes()


@pytest.mark.parametrize("spec", EXACT)
@pytest.mark.parametrize("dtype", ["int64", "bool", "float64", "uint8", "float16"])
def test_codecs_without_loss_take_every_dtype(spec: str, dtype: str) -> None:
    array = np.arange(77).reshape(7, 11).astype(dtype)
    encoded = parse_codec(spec).encode(array)
    assert np.array_equal(parse_codec(spec).decode(encoded, array.dtype, array.shape), array)


@pytest.mark.parametrize("spec", LOSSY)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(), (5,), (1, 2, 3)])
def test_lossy_codecs_refuse_nan_and_infinity_wherever_they_are(
    spec: str, value: float, shape: tuple[int, ...]
) -> None:
    codec = parse_codec(spec, CALIBRATIONS)
    for position in np.ndindex(*shape):
        array = np.ones(shape, np.float32)
        array[position] = value
        with pytest.raises(TensorContractError, match="takes finite values"):
            codec.encode(array)


@pytest.mark.parametrize("spec", LOSSY)
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "bool"])
def test_lossy_codecs_take_only_float32(spec: str, dtype: str) -> None:
    with pytest.raises(TensorContractError, match=f"takes float32, not {dtype}; use raw"):
        parse_codec(spec, CALIBRATIONS).encode(np.zeros(3, dtype))


@pytest.mark.parametrize("spec", EVERY)
def test_zeros_stay_zero(spec: str) -> None:
    array = np.zeros((2, 3, 4), np.float32)
    array[1, 2, 3] = 1
    found = there_and_back(array, spec)
    assert not found[array == 0].any()


def refused_or_as_claimed(spec: str, encoded: EncodedTensor, shape: tuple[int, ...]) -> None:
    try:
        found = decode(encoded, shape, spec)
    except TercetError:
        return
    assert (found.dtype, found.shape) == (FLOAT32, shape)
    assert spec in EXACT or "raw" in spec or np.isfinite(found).all()


@settings(max_examples=500)
@given(spec=st.sampled_from(EVERY), payload=st.binary(max_size=60), parameters=st.binary(max_size=20), shape=shapes)
def test_random_bytes_are_refused_or_decode_to_what_was_claimed(
    spec: str, payload: bytes, parameters: bytes, shape: tuple[int, ...]
) -> None:
    refused_or_as_claimed(spec, EncodedTensor(payload, parameters), shape)


@settings(max_examples=500)
@given(spec=st.sampled_from(EVERY), array=tensors(), other=shapes, data=st.data())
def test_garbled_payloads_are_refused_or_decode_to_what_was_claimed(
    spec: str, array: Float32Array, other: tuple[int, ...], data: st.DataObject
) -> None:
    encoded = encode(array, spec)
    garbled = bytearray(encoded.payload)
    for _ in range(data.draw(st.integers(0, 3))):
        if garbled:
            garbled[data.draw(st.integers(0, len(garbled) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(garbled)))
    refused_or_as_claimed(spec, EncodedTensor(bytes(garbled[:kept]), encoded.parameters), array.shape)
    refused_or_as_claimed(spec, EncodedTensor(bytes(garbled), encoded.parameters), array.shape)
    refused_or_as_claimed(spec, EncodedTensor(bytes(encoded.payload), encoded.parameters), other)


@pytest.mark.parametrize("spec", EVERY)
def test_a_payload_too_long_or_too_short_is_refused(spec: str) -> None:
    array = np.linspace(-1, 3, 60, dtype=np.float32).reshape(1, 3, 20)
    encoded = encode(array, spec)
    payload = bytes(encoded.payload)
    for wrong in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(TercetError):
            decode(EncodedTensor(wrong, encoded.parameters), array.shape, spec)
    with pytest.raises(TercetError):
        decode(EncodedTensor(payload, encoded.parameters + b"\0"), array.shape, spec)


@pytest.mark.parametrize("spec", LOSSY)
def test_threads_may_share_a_codec(spec: str) -> None:
    codec = parse_codec(spec, CALIBRATIONS)
    generator = np.random.default_rng(7)
    arrays = [generator.uniform(-2, 6, (1, 3, 40, size)).astype(np.float32) for size in range(1, 41)]

    def round_trip(array: Array) -> bytes:
        return codec.decode(codec.encode(array), FLOAT32, array.shape).tobytes()

    alone = [round_trip(array) for array in arrays]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(round_trip, arrays)) == alone
