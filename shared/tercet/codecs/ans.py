"""Asymmetric numeral systems: whole symbols to 32-bit words at nearly their information, and back.

The state is a 64-bit number, 0 at first. A symbol of frequency f (of 2**24), with c the sum of those before it:

    if state >> 40 >= f:  put the state's low 32 bits out as a word; state >>= 32
    state = (state // f << 24) + c + state % f

Symbols are coded last to first; at the end the rest of the state follows, low word first, no zero words on top.
A decoder undoes this from the last word on and is back at state 0 with no words left after the last symbol.
Source: Duda 2013, arXiv:1311.2540; done by the library `constriction` (Bamler 2022, arXiv:2201.01741).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import constriction
import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Buffer
from tercet.codecs.laplace_tables import frequencies
from tercet.errors import WireFormatError

WORD_BYTES = 4
# What is left in the state.
STATE_BYTES = 8

Symbols = npt.NDArray[np.int32]
_WORD = np.dtype("<u4")


def encode_symbols(parts: Sequence[tuple[int, Symbols]]) -> bytes:
    """Args: parts: (table, symbols within 0 … 2 * top_of(table)) in the order of decoding."""
    coder = constriction.stream.stack.AnsCoder()
    for table, symbols in reversed(parts):
        coder.encode_reverse(symbols, _model(table))
    words: bytes = coder.get_compressed().astype(_WORD, copy=False).tobytes()
    return words


def decode_symbols(payload: Buffer, parts: Iterable[tuple[int, int]], spec: str) -> list[Symbols]:
    """The symbols of each (table, count); WireFormatError unless `payload` codes exactly so many."""
    if len(payload) % WORD_BYTES:
        raise WireFormatError(f"{spec} payload: {len(payload)} bytes are not whole words of {WORD_BYTES}")
    try:
        coder = constriction.stream.stack.AnsCoder(np.frombuffer(payload, _WORD).astype(np.uint32))
    except ValueError as error:
        raise WireFormatError(f"{spec} payload: its last word is zero") from error
    symbols = [coder.decode(_model(table), count) for table, count in parts]
    if not coder.is_empty():
        raise WireFormatError(f"{spec} payload: longer than its symbols, or garbled")
    return symbols


@cache
def _model(table: int) -> object:
    # The library itself gives every symbol 1 of 2**24, and shares the rest among these numbers as they are.
    return constriction.stream.model.Categorical((frequencies(table) - 1).astype(np.float64), perfect=False)
