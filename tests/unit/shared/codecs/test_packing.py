"""Steps of any width to bytes and back, as docs/wire.md says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.codecs.packing import pack_steps, packed_bytes, unpack_steps


def packed_by_definition(steps: list[int], width: int) -> bytes:
    bits = sum(step << (place * width) for place, step in enumerate(steps))
    return bits.to_bytes(packed_bytes(len(steps), width), "little")


@given(width=st.integers(1, 8), data=st.data())
def test_packing_is_one_little_endian_bit_string(width: int, data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=70))
    packed = pack_steps(np.array(steps, np.uint8), width).tobytes()
    assert packed == packed_by_definition(steps, width)
    assert unpack_steps(packed, width, len(steps)).tolist() == steps


@pytest.mark.parametrize("width", [2, 3, 4, 5, 6, 7])
def test_bits_left_over_are_ignored(width: int) -> None:
    packed = bytearray(pack_steps(np.array([1], np.uint8), width).tobytes())
    packed[-1] |= 0x80 if width < 8 else 0
    assert unpack_steps(bytes(packed), width, 1).tolist() == [1]
