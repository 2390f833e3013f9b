"""Where the kept elements of a sparse tensor are: a bitmap or gaps as varints, whichever is smaller.

bitmap   ceil(n / 8) bytes; element i is bit i % 8 (the lowest first) of byte i // 8
varints  one unsigned LEB128 number a kept element: how many elements lie between it and the kept one before
         (or the start)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Buffer
from tercet.errors import WireFormatError

BITMAP, VARINTS = 0, 1
Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
# Four bytes of LEB128 reach 2**28, more than one frame has elements.
_MAX_VARINT_BYTES = 4


def encode_positions(positions: Positions, count: int) -> tuple[int, bytes]:
    """The smaller coding of ascending `positions` below `count`: its flag and its bytes."""
    gaps = np.diff(positions, prepend=-1) - 1
    varint_bytes = len(positions) + sum(
        int(np.count_nonzero(gaps >= 1 << (7 * more))) for more in range(1, _MAX_VARINT_BYTES)
    )
    if varint_bytes < (count + 7) // 8:
        return VARINTS, _encode_varints(gaps, varint_bytes)
    kept = np.zeros(count, np.bool_)
    kept[positions] = True
    return BITMAP, np.packbits(kept, bitorder="little").tobytes()


def max_position_bytes(count: int) -> int:
    """Of any coding an encoder chooses."""
    return (count + 7) // 8


def decode_positions(flag: int, data: Buffer, kept: int, count: int) -> tuple[Positions | Mask, int]:
    """Which `kept` of `count` elements, as positions or mask, and how many bytes of `data` that took.

    Raises WireFormatError; allocates no more than a few bytes an element of `count`, which has been checked.
    """
    if flag == BITMAP:
        taken = (count + 7) // 8
        if len(data) < taken:
            raise WireFormatError(f"a bitmap of {count} elements needs {taken} bytes, {len(data)} are there")
        bits = np.unpackbits(np.frombuffer(data, np.uint8, taken), count=count, bitorder="little")
        if (found := np.count_nonzero(bits)) != kept:
            raise WireFormatError(f"the bitmap keeps {found} elements, {kept} are claimed")
        return bits.view(np.bool_), taken
    if flag != VARINTS:
        raise WireFormatError(f"positions coded in way {flag}; known are 0 (bitmap) and 1 (varints)")
    if kept and kept >= (count + 7) // 8:
        raise WireFormatError(f"{kept} varints for {count} elements: a bitmap is not larger")
    gaps, taken = _decode_varints(data, kept)
    positions = np.cumsum(gaps + 1) - 1
    if kept and positions[-1] >= count:
        raise WireFormatError(f"a kept element lies at {positions[-1]}, past the {count} of the tensor")
    return positions, taken


def _encode_varints(gaps: Positions, total_bytes: int) -> bytes:
    if total_bytes == len(gaps):
        return gaps.astype(np.uint8).tobytes()
    lengths = np.ones(len(gaps), np.intp)
    for more in range(1, _MAX_VARINT_BYTES):
        lengths += gaps >= 1 << (7 * more)
    starts = np.cumsum(lengths) - lengths
    out = np.empty(total_bytes, np.uint8)
    for place in range(_MAX_VARINT_BYTES):
        has = lengths > place
        more_follows = np.where(lengths[has] > place + 1, 0x80, 0)
        out[starts[has] + place] = ((gaps[has] >> (7 * place)) & 0x7F) | more_follows
    return out.tobytes()


def _decode_varints(data: Buffer, kept: int) -> tuple[Positions, int]:
    octets = np.frombuffer(data, np.uint8)[: kept * _MAX_VARINT_BYTES]
    ends = np.flatnonzero(octets < 0x80)[:kept]
    if len(ends) < kept:
        raise WireFormatError(f"{kept} kept elements are claimed, {len(ends)} positions are there")
    if kept == 0:
        return np.empty(0, np.intp), 0
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_VARINT_BYTES:
        raise WireFormatError("a position has more bytes than any element needs")
    gaps = np.zeros(kept, np.intp)
    for place in range(int(lengths.max())):
        has = lengths > place
        gaps[has] |= (octets[starts[has] + place].astype(np.intp) & 0x7F) << (7 * place)
    return gaps, int(ends[-1]) + 1
