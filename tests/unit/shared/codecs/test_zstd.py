"""The entropy stage: exact, and never a way to make a receiver allocate."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tercet.codecs import EncodedTensor, parse_codec
from tercet.codecs.shuffle import SHUFFLES
from tercet.errors import WireFormatError

UINT8 = np.dtype(np.uint8)


def bomb(size_bytes: int, *, says: bool = True) -> bytes:
    if says:
        return zstandard.ZstdCompressor().compress(bytes(size_bytes))
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    return compressor.compress(bytes(size_bytes))


def test_a_bomb_is_refused_before_anything_is_allocated_for_it() -> None:
    payload = bomb(64 << 20)
    assert len(payload) < 8192
    codec = parse_codec("raw+zstd")
    codec.encode(np.zeros(4, np.uint8))
    tracemalloc.start()
    try:
        with pytest.raises(WireFormatError, match="claims to decompress to: 67108864 bytes"):
            codec.decode(EncodedTensor(payload), UINT8, (100_000,))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (bomb(16, says=False), "does not say how long"),
        (bomb(16) + bomb(16), "not a Zstandard frame|extra|unused"),
        (bomb(16)[:-1], "not a Zstandard frame"),
        (b"\x28\xb5\x2f\xfd", "not a Zstandard frame"),
        (bomb(15), "raw payload: 15 bytes"),
        (zstandard.ZstdCompressor().compress(b""), "a Zstandard frame of nothing|raw payload"),
    ],
)
def test_frames_that_are_not_one_of_the_right_size_are_refused(payload: bytes, complaint: str) -> None:
    with pytest.raises(WireFormatError, match=complaint):
        parse_codec("raw+zstd").decode(EncodedTensor(payload), UINT8, (16,))


def test_a_lying_content_size_is_refused() -> None:
    payload = bytearray(bomb(200))
    assert payload[4:6] == b"\x20\xc8"  # single segment, one byte of content size
    payload[5] = 100
    with pytest.raises(WireFormatError, match="not a Zstandard frame"):
        parse_codec("raw+zstd").decode(EncodedTensor(bytes(payload)), UINT8, (200,))


@pytest.mark.parametrize("name", sorted(SHUFFLES))
@given(payload=st.binary(max_size=100), item_bytes=st.sampled_from([1, 2, 4, 8]))
def test_a_shuffle_is_undone(name: str, payload: bytes, item_bytes: int) -> None:
    mixed = SHUFFLES[name].mix(payload, item_bytes)
    assert len(mixed) == len(payload)
    assert SHUFFLES[name].restore(mixed, item_bytes) == payload


def test_shuffles_put_like_beside_like() -> None:
    assert SHUFFLES["shuffle"].mix(b"a1b2c3", 2) == b"abc123"
    assert SHUFFLES["bitshuffle"].mix(bytes([1] * 8), 1) == bytes([0xFF, 0, 0, 0, 0, 0, 0, 0])


def test_smooth_halves_shrink_more_when_shuffled() -> None:
    array = np.sin(np.linspace(0, 20, 20_000, dtype=np.float32))
    plain, shuffled = (len(parse_codec(spec).encode(array).payload) for spec in ("fp16+zstd", "fp16+zstd:shuffle"))
    assert shuffled < plain
