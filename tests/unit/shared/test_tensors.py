"""Tensors of every kind arrive as they left; claims that cannot be true are refused by name."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.codecs import codec_names
from tercet.codecs.codec import Array
from tercet.errors import (
    ContractError,
    FrameTooLargeError,
    SpecError,
    TensorContractError,
    TercetError,
    WireFormatError,
)
from tercet.limits import MAX_NAME_CHARS, MAX_RANK, MAX_TENSOR_BYTES, MAX_TENSORS
from tercet.v1 import frame_pb2 as pb
from tercet.wire.dtypes import DTYPE_NAMES
from tercet.wire.tensors import check_headers, decode_tensors, encode_tensors

SHAPES = [(), (1,), (7,), (0,), (2, 3), (3, 0), (0, 3, 4), (1, 0, 4), (2, 3, 4), (1, 5, 2, 3), (1,) * MAX_RANK]


def sample(dtype: str, shape: tuple[int, ...]) -> Array:
    generator = np.random.default_rng(prod(shape) + len(shape))
    if dtype == "bool":
        return np.asarray(generator.random(shape) < 0.5)
    if dtype.startswith("float"):
        return np.asarray(generator.standard_normal(shape)).astype(dtype)
    info = np.iinfo(dtype)
    return np.asarray(generator.integers(info.min, info.max, shape, dtype=dtype, endpoint=True))


def there_and_back(tensors: dict[str, Array], codec: str) -> dict[str, Array]:
    headers, payloads = encode_tensors(tensors, codec)
    arrived = [pb.TensorHeader.FromString(header.SerializeToString()) for header in headers]
    check_headers(arrived)
    assert [header.payload_bytes for header in arrived] == [len(payload) for payload in payloads]
    return decode_tensors(arrived, [memoryview(bytes(payload)) for payload in payloads])


def assert_close_enough(found: Array, sent: Array, codec: str) -> None:
    assert found.dtype == sent.dtype.newbyteorder("=")
    assert found.shape == sent.shape
    if codec == "raw" or sent.dtype.name != "float32":
        assert np.array_equal(found, sent)
    elif sent.size:
        largest, reach = np.abs(sent).max(), np.ptp(np.append(sent, 0))
        tolerance = {"fp16": 2**-11 * largest, "bf16": 2**-8 * largest} | {
            f"int{bits}": reach / (2**bits - 1) / 2 * 1.01 for bits in range(2, 9)
        }
        assert np.abs(found.astype(np.float64) - sent.astype(np.float64)).max() <= tolerance[codec]


@pytest.mark.parametrize("codec", codec_names())
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_every_dtype_and_shape_arrives(dtype: str, codec: str) -> None:
    tensors = {f"t{index}": sample(dtype, shape) for index, shape in enumerate(SHAPES)}
    arrived = there_and_back(tensors, codec)
    assert list(arrived) == list(tensors)
    for name, sent in tensors.items():
        assert_close_enough(arrived[name], sent, codec)


@pytest.mark.parametrize("codec", codec_names())
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_the_layout_in_memory_does_not_matter(dtype: str, codec: str) -> None:
    plain = sample(dtype, (4, 6, 5))
    layouts = {
        "transposed": plain.transpose(2, 0, 1),
        "strided": plain[::2, ::-3],
        "fortran": np.asfortranarray(plain),
        "broadcast": np.broadcast_to(plain[:1], (3, 6, 5)),
        "big endian": plain.astype(plain.dtype.newbyteorder(">")),
        "read only": np.frombuffer(plain.tobytes(), plain.dtype).reshape(plain.shape),
        "unaligned": np.frombuffer(b"x" + plain.tobytes(), plain.dtype, offset=1).reshape(plain.shape),
    }
    for name, found in there_and_back(layouts, codec).items():
        assert_close_enough(found, layouts[name], codec)


@pytest.mark.parametrize("codec", codec_names())
def test_encoding_leaves_its_input_alone(codec: str) -> None:
    array = sample("float32", (2, 3, 4))
    before = array.copy()
    encode_tensors({"x": array}, codec)
    assert np.array_equal(array, before)
    array.flags.writeable = False
    encode_tensors({"x": array}, codec)


def test_only_float32_takes_the_lossy_codec() -> None:
    headers, _ = encode_tensors({name: sample(name, (2, 2)) for name in DTYPE_NAMES}, "int8")
    assert {header.name: header.codec for header in headers} == {
        name: "int8" if name == "float32" else "raw" for name in DTYPE_NAMES
    }


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([object()]),
        np.zeros(2, "complex64"),
        np.zeros(2, "uint16"),
        np.zeros(2, "M8[s]"),
    ],
    ids=["text", "object", "complex64", "uint16", "date"],
)
def test_a_dtype_without_a_wire_code_is_refused_by_name(array: Array) -> None:
    with pytest.raises(TensorContractError, match="does not cross links"):
        encode_tensors({"x": array}, "raw")


def test_an_unknown_codec_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="int9"):
        encode_tensors({"x": sample("float32", (2,))}, "int9")
    header = claim((2,))
    header.codec = "int9"
    with pytest.raises(SpecError, match=r"int9.*raw, fp16"):
        decode_tensors([header], [memoryview(b"")])


def test_a_lossy_codec_cannot_claim_to_give_integers() -> None:
    header = claim((2,), dtype=pb.DATA_TYPE_INT64)
    header.codec = "fp16"
    with pytest.raises(TensorContractError, match="'x': codec fp16 cannot give int64"):
        decode_tensors([header], [memoryview(bytes(4))])


def claim(shape: tuple[int, ...], name: str = "x", dtype: int = pb.DATA_TYPE_FLOAT32) -> pb.TensorHeader:
    return pb.TensorHeader(name=name, dtype=dtype, shape=shape, codec="raw")  # type: ignore[arg-type]


def test_an_unknown_data_type_is_refused_by_its_number() -> None:
    for code in (0, 99):
        with pytest.raises(TensorContractError, match=f"data type {code} "):
            check_headers([claim((1,), dtype=code)])


@pytest.mark.parametrize(
    "shape",
    [
        (2**64 - 1,),
        (2**32, 2**32),
        (2**63,) * MAX_RANK,
        (0, 2**63),
        (2**40, 0, 2**40),
        (MAX_TENSOR_BYTES // 4 + 1,),
    ],
)
def test_huge_claims_are_refused_an_axis_of_zero_notwithstanding(shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameTooLargeError, match="MAX_TENSOR_BYTES"):
        check_headers([claim(shape)])


def test_many_tensors_may_not_claim_more_together_than_one() -> None:
    half = (MAX_TENSOR_BYTES // 8,)
    check_headers([claim(half, "a"), claim(half, "b")])
    with pytest.raises(FrameTooLargeError):
        check_headers([claim(half, "a"), claim(half, "b"), claim((1,), "c")])


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=MAX_RANK + 1))
def test_any_shape_that_is_let_through_can_be_decoded_or_is_refused(shape: list[int]) -> None:
    header = claim(tuple(shape))
    try:
        check_headers([header])
        (array,) = decode_tensors([header], [memoryview(b"")]).values()
    except TercetError:
        return
    assert array.shape == tuple(shape)
    assert array.size == 0


def test_two_tensors_of_one_name_are_refused() -> None:
    with pytest.raises(WireFormatError, match="same name"):
        check_headers([claim((1,)), claim((2,))])


def test_too_many_tensors_are_refused_on_both_sides() -> None:
    names = [f"t{index}" for index in range(MAX_TENSORS + 1)]
    with pytest.raises(WireFormatError, match=str(MAX_TENSORS)):
        check_headers([claim((0,), name) for name in names])
    with pytest.raises(WireFormatError, match=str(MAX_TENSORS)):
        encode_tensors(dict.fromkeys(names, np.zeros(1, np.float32)), "raw")


def test_too_many_axes_are_refused_on_both_sides() -> None:
    with pytest.raises(WireFormatError, match="'x' has rank 9"):
        check_headers([claim((1,) * 9)])
    with pytest.raises(WireFormatError, match="'x' has rank 9"):
        encode_tensors({"x": np.zeros((1,) * 9, np.float32)}, "raw")


def test_too_many_bytes_are_refused_before_they_are_coded() -> None:
    array = np.broadcast_to(np.float32(0), (MAX_TENSOR_BYTES // 4 + 1,))
    with pytest.raises(FrameTooLargeError, match="smaller boundary or use a smaller codec"):
        encode_tensors({"x": array}, "fp16")


def test_a_name_without_end_is_refused() -> None:
    with pytest.raises(WireFormatError, match=str(MAX_NAME_CHARS)):
        check_headers([claim((1,), "n" * (MAX_NAME_CHARS + 1))])


def test_control_characters_of_a_name_are_spelled_out_in_errors() -> None:
    with pytest.raises(ContractError) as caught:
        check_headers([claim((1,) * 9, "a\n\x1b[2Jb")])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("codec", codec_names())
@pytest.mark.parametrize("size_change", [-1, 1])
def test_a_payload_of_another_size_than_the_shape_demands_is_refused(codec: str, size_change: int) -> None:
    (header,), (payload,) = encode_tensors({"x": sample("float32", (1, 3, 4))}, codec)
    wrong = (bytes(payload) + b"\0")[: len(payload) + size_change]
    with pytest.raises(WireFormatError, match=f"{codec} payload"):
        decode_tensors([header], [memoryview(wrong)])


@pytest.mark.parametrize("shape", [(2, 2), (0,)])
@pytest.mark.parametrize("codec", codec_names())
def test_parameters_of_another_size_than_the_codec_demands_are_refused(codec: str, shape: tuple[int, ...]) -> None:
    (header,), (payload,) = encode_tensors({"x": sample("float32", shape)}, codec)
    header.parameters += b"\0"
    with pytest.raises(WireFormatError, match=f"{codec} parameters"):
        decode_tensors([header], [memoryview(payload)])


def test_a_bool_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(WireFormatError, match="bool"):
        decode_tensors([claim((2,), dtype=pb.DATA_TYPE_BOOL)], [memoryview(b"\x01\x02")])
