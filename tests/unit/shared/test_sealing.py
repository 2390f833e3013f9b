"""Nothing that was cut, flipped or padded on its way gets past the seal, and claims allocate nothing."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import FrameTooLargeError, TercetError, WireFormatError
from tercet.limits import MAX_FRAME_BYTES, MAX_HEADER_BYTES
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.sealing import ANSWER_MAGIC, FRAME_MAGIC, seal, split_payloads, unseal


def small_frame() -> bytes:
    header = pb.FrameHeader(model="m@012345678901", plan="p", boundary=1, node="cam-1", sequence=7)
    return Frame.encode(header, {"x": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}, "int8").seal()


def small_refusal() -> bytes:
    return Answer.of_error(pb.FrameHeader(node="cam-1"), WireFormatError("no")).seal()


def test_what_was_sealed_comes_back_without_a_copy() -> None:
    sealed = seal(FRAME_MAGIC, b"head", [b"one", bytearray(b"two"), memoryview(b"three")])
    header, area = unseal(FRAME_MAGIC, sealed)
    assert (bytes(header), bytes(area)) == (b"head", b"onetwothree")
    assert header.obj is sealed
    assert area.obj is sealed


@pytest.mark.parametrize("sealed", [small_frame(), small_refusal()], ids=["frame", "refusal"])
def test_every_truncation_is_refused(sealed: bytes) -> None:
    kind = Frame if sealed[:4] == FRAME_MAGIC else Answer
    kind.open(sealed)
    for length in range(len(sealed)):
        with pytest.raises(WireFormatError):
            kind.open(sealed[:length])


@pytest.mark.parametrize("sealed", [small_frame(), small_refusal()], ids=["frame", "refusal"])
def test_every_flipped_bit_is_refused(sealed: bytes) -> None:
    kind = Frame if sealed[:4] == FRAME_MAGIC else Answer
    for position in range(len(sealed)):
        for bit in range(8):
            garbled = bytearray(sealed)
            garbled[position] ^= 1 << bit
            with pytest.raises(WireFormatError):
                kind.open(garbled)


def test_every_other_header_length_is_refused_though_the_checksum_does_not_cover_it() -> None:
    sealed = bytearray(small_frame())
    (right,) = struct.unpack_from("<I", sealed, 4)
    for wrong in set(range(len(sealed) + 20)) - {right}:
        struct.pack_into("<I", sealed, 4, wrong)
        with pytest.raises(TercetError):
            Frame.open(sealed)


@pytest.mark.parametrize("extra", [b"\0", b"x" * 100])
def test_bytes_after_the_end_are_refused(extra: bytes) -> None:
    with pytest.raises(WireFormatError):
        Frame.open(small_frame() + extra)


def test_a_frame_is_not_an_answer() -> None:
    with pytest.raises(WireFormatError, match="not a Tercet message, or another version"):
        Answer.open(small_frame())
    with pytest.raises(WireFormatError, match="TCA1"):
        Frame.open(small_refusal())


def test_another_version_is_named() -> None:
    with pytest.raises(WireFormatError, match="TCF2"):
        Frame.open(b"TCF2" + small_frame()[4:])


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireFormatError):
        Frame.open(data)


@given(st.binary(max_size=60), st.binary(max_size=40))
def test_a_valid_seal_around_random_bytes_never_crashes_the_parser(header: bytes, area: bytes) -> None:
    for magic, kind in ((FRAME_MAGIC, Frame), (ANSWER_MAGIC, Answer)):
        try:
            opened = kind.open(seal(magic, header, [area]))
        except TercetError:
            continue
        assert sum(len(payload) for payload in opened.payloads) == len(area)


def test_a_header_over_the_limit_is_neither_sealed_nor_opened() -> None:
    header = bytes(MAX_HEADER_BYTES + 1)
    with pytest.raises(FrameTooLargeError, match=str(MAX_HEADER_BYTES)):
        seal(FRAME_MAGIC, header, [])
    forged = struct.pack("<4sIQ", FRAME_MAGIC, len(header), xxhash.xxh3_64_intdigest(header)) + header
    with pytest.raises(WireFormatError, match="claimed"):
        unseal(FRAME_MAGIC, forged)


def test_a_frame_over_the_limit_is_neither_sealed_nor_opened() -> None:
    data = memoryview(bytes(MAX_FRAME_BYTES + 1))
    with pytest.raises(FrameTooLargeError, match=r"65\.0 MiB"):
        seal(FRAME_MAGIC, b"", [data])
    with pytest.raises(FrameTooLargeError, match=r"65\.0 MiB"):
        unseal(FRAME_MAGIC, data)


def test_claims_allocate_nothing() -> None:
    """Headers that claim 2**60 bytes, 64 MiB and a giant header cost kilobytes to refuse."""
    claims = [
        seal(FRAME_MAGIC, claim.SerializeToString(), [])
        for claim in (
            pb.FrameHeader(tensors=[tensor_claim([2**60], payload_bytes=2**60)]),
            pb.FrameHeader(tensors=[tensor_claim([2**24], payload_bytes=2**26)]),
            pb.FrameHeader(tensors=[tensor_claim([0, 2**62], payload_bytes=0)]),
        )
    ]
    claims.append(struct.pack("<4sIQ", FRAME_MAGIC, 2**32 - 1, 0) + b"x")
    tracemalloc.start()
    try:
        for claim in claims:
            with pytest.raises(TercetError):
                Frame.open(claim).decode()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def tensor_claim(shape: list[int], payload_bytes: int) -> pb.TensorHeader:
    return pb.TensorHeader(
        name="x", dtype=pb.DATA_TYPE_FLOAT32, shape=shape, codec="raw", payload_bytes=payload_bytes
    )


@pytest.mark.parametrize("sizes", [[], [4], [3, 3], [2**64 - 1, 2**64 - 1], [0, 0]])
def test_payload_sizes_that_do_not_fill_the_area_exactly_are_refused(sizes: list[int]) -> None:
    with pytest.raises(WireFormatError, match="claims"):
        split_payloads(memoryview(b"12345"), sizes)


def test_payloads_are_cut_in_order_empty_ones_included() -> None:
    parts = split_payloads(memoryview(b"12345"), [2, 0, 3])
    assert [bytes(part) for part in parts] == [b"12", b"", b"345"]
