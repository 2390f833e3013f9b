"""Sparsifiers keep exactly what they say, and their positions survive both codings."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.codecs import decode, encode, tensors, there_and_back
from tercet.codecs import EncodedTensor
from tercet.codecs.codec import Float32Array
from tercet.codecs.positions import BITMAP, VARINTS, decode_positions, encode_positions
from tercet.errors import WireFormatError


def largest_by_definition(array: Float32Array, kept: int) -> Float32Array:
    order = sorted(range(array.size), key=lambda place: (-abs(float(array.flat[place])), place))
    expected = np.zeros_like(array)
    for place in order[:kept]:
        expected.flat[place] = array.flat[place]
    return expected


@settings(max_examples=200)
@given(array=tensors(), tenths=st.integers(1, 1000))
def test_top_keeps_exactly_the_largest_share_and_ties_by_index(array: Float32Array, tenths: int) -> None:
    array = np.rint(array / 10000)  # many ties
    found = there_and_back(array, f"top{tenths / 10:g}%+raw")
    assert np.array_equal(found, largest_by_definition(array, ceil(tenths * array.size / 1000)))


@pytest.mark.parametrize("percent", [0.1, 1, 10, 30, 99])
@pytest.mark.parametrize("kind", ["normal", "ties", "mostly zero", "sorted", "periodic"])
def test_top_is_exact_on_tensors_whose_threshold_is_sampled(percent: float, kind: str) -> None:
    generator = np.random.default_rng(3)
    array = generator.standard_normal(30_000).astype(np.float32)
    if kind == "ties":
        array = np.rint(array)
    elif kind == "mostly zero":
        array[generator.random(array.size) < 0.97] = 0
    elif kind == "sorted":
        array.sort()
    elif kind == "periodic":
        array[:: array.size // 8192 + 1] *= 100
    kept = ceil(percent * array.size / 100)
    order = np.argsort(-np.abs(array), kind="stable")[:kept]
    expected = np.zeros_like(array)
    expected[order] = array[order]
    assert np.array_equal(there_and_back(array, f"top{percent:g}%+raw"), expected)


@given(array=tensors(), hundredths=st.integers(1, 10_000_000))
def test_threshold_keeps_what_reaches_it(array: Float32Array, hundredths: int) -> None:
    threshold = hundredths / 100
    found = there_and_back(array, f"thr{threshold:.2f}+raw")
    assert np.array_equal(found, np.where(np.abs(array) >= np.float32(threshold), array, 0))


@given(data=st.data(), count=st.integers(1, 3000))
def test_positions_come_back_from_the_smaller_coding(data: st.DataObject, count: int) -> None:
    kept = data.draw(st.sets(st.integers(0, count - 1), max_size=60))
    positions = np.array(sorted(kept), np.intp)
    flag, coded = encode_positions(positions, count)
    found, taken = decode_positions(flag, coded + b"rest", len(positions), count)
    assert np.arange(count)[found].tolist() == positions.tolist()
    assert taken == len(coded) <= (count + 7) // 8


def test_gaps_of_every_length_are_coded() -> None:
    positions = np.cumsum([0, 1, 128, 129, 16384, 16385, 1 << 21, (1 << 21) + 1])
    flag, coded = encode_positions(positions, 1 << 24)
    assert flag == VARINTS
    found, _ = decode_positions(flag, coded, len(positions), 1 << 24)
    assert found.tolist() == positions.tolist()


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (bytes([BITMAP, 2, 0, 0, 0, 0b1]) + bytes(8), "keeps 1 elements, 2 are claimed"),
        (bytes([BITMAP, 9, 0, 0, 0, 0xFF]) + bytes(36), "9 elements kept of 8"),
        (bytes([2, 1, 0, 0, 0, 0]) + bytes(4), "coded in way 2"),
        (bytes([VARINTS, 1, 0, 0, 0, 0]) + bytes(4), "a bitmap is not larger"),
        (b"\0\0\0", "the head alone has 5"),
    ],
)
def test_impossible_positions_are_refused(payload: bytes, complaint: str) -> None:
    with pytest.raises(WireFormatError, match=complaint):
        decode(EncodedTensor(payload), (8,), "top100%+raw")


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (bytes([VARINTS, 1, 0, 0, 0, 99]) + bytes(4), "lies at 99, past the 99"),
        (bytes([VARINTS, 2, 0, 0, 0, 0x80, 0x80]), "2 kept elements are claimed, 0 positions"),
        (bytes([VARINTS, 1, 0, 0, 0]) + b"\x80\x80\x80\x80\0" + bytes(4), "1 kept elements are claimed, 0"),
        (bytes([VARINTS, 1, 0, 0, 0, 0]) + bytes(3), "raw payload: 3 bytes"),
        (bytes([VARINTS, 13, 0, 0, 0]) + bytes(13 * 5), "a bitmap is not larger"),
    ],
)
def test_impossible_varints_are_refused(payload: bytes, complaint: str) -> None:
    with pytest.raises(WireFormatError, match=complaint):
        decode(EncodedTensor(payload), (99,), "top100%+raw")


def test_ninety_percent_sparse_is_a_tenth_of_the_bytes() -> None:
    array = np.random.default_rng(1).standard_normal((1, 80, 14, 14)).astype(np.float32)
    encoded = encode(array, "top10%+int8")
    assert encoded.size_bytes * 10 <= array.nbytes
    assert np.count_nonzero(decode(encoded, array.shape, "top10%+int8")) <= ceil(array.size / 10)
