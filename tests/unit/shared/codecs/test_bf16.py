"""bf16 is as close as it says, over all of float32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given

from support.codecs import LARGEST, tensors, there_and_back
from tercet.codecs import EncodedTensor, parse_codec
from tercet.codecs.codec import Float32Array
from tercet.errors import WireFormatError


@given(array=tensors(LARGEST))
@example(array=np.array([LARGEST, -LARGEST, 1e-45, 1 + 2**-8, 1 + 3 * 2**-8, -0.0], np.float32))
def test_bf16_is_as_close_as_it_says(array: Float32Array) -> None:
    found = there_and_back(array, "bf16").astype(np.float64)
    exact = array.astype(np.float64)
    assert (np.abs(found - exact) <= np.maximum(2**-8 * np.abs(exact), 2.0**-134)).all()


def test_ties_go_to_the_even_neighbour() -> None:
    found = there_and_back(np.array([1 + 2**-8, 1 + 3 * 2**-8], np.float32), "bf16")
    assert found.tolist() == [1, 1 + 2**-6]


@pytest.mark.parametrize("word", [0x7F80, 0xFF80, 0x7FC0, 0xFFFF])
def test_nan_and_infinity_on_the_wire_are_refused(word: int) -> None:
    with pytest.raises(WireFormatError, match="NaN or infinity"):
        parse_codec("bf16").decode(EncodedTensor(word.to_bytes(2, "little")), np.dtype(np.float32), (1,))
