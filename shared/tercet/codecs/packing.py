"""Steps of a few bits to bytes and back.

Step i of width w takes bits [i*w, (i+1)*w) of the payload, read as one little-endian bit string: in a byte, the
first step has the lowest bits. The bits left over in the last byte are 0; receivers ignore them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Buffer

Steps = npt.NDArray[np.uint8]
_U64 = np.dtype("<u8")


def packed_bytes(count: int, width: int) -> int:
    return (count * width + 7) // 8


def pack_steps(steps: Steps, width: int) -> Steps:
    """Steps (n,) uint8, contiguous, each below 2**width (1…8), to bytes; `steps` itself for width 8."""
    if width == 8:
        return steps
    if steps.size % 8 == 0:
        words = steps.view(_U64)
    else:
        words = np.zeros((steps.size + 7) // 8, _U64)
        words.view(np.uint8)[: steps.size] = steps
    if width == 4:
        pairs = words.view("<u2")
        shifted = pairs >> 4
        shifted |= pairs
        packed: Steps = shifted.astype(np.uint8)
    elif width == 2:
        fours = words.view("<u4")
        merged = fours >> 12
        merged |= fours
        merged |= merged >> 6
        packed = merged.astype(np.uint8)
    else:
        for lane_bits, used_bits in ((16, width), (32, 2 * width), (64, 4 * width)):
            low, high = _lane_masks(lane_bits, used_bits)
            words = (words & low) | ((words & high) >> np.uint64(lane_bits // 2 - used_bits))
        packed = words.view(np.uint8).reshape(-1, 8)[:, :width].reshape(-1)
    return packed[: packed_bytes(steps.size, width)]


def unpack_steps(payload: Buffer, width: int, count: int) -> Steps:
    """The inverse: (count,) uint8, read-only for width 8. `payload` has `packed_bytes(count, width)` bytes."""
    packed = np.frombuffer(payload, np.uint8)
    if width == 8:
        return packed
    words = np.zeros((count + 7) // 8, _U64)
    if width == 4:
        pairs = words.view("<u2")
        pairs[: packed.size] = packed
        pairs |= pairs << 4
        pairs &= 0x0F0F
    elif width == 2:
        fours = words.view("<u4")
        fours[: packed.size] = packed
        fours |= fours << 12
        fours |= fours << 6
        fours &= 0x03030303
    else:
        lanes = words.view(np.uint8).reshape(-1, 8)
        whole = packed.size // width
        lanes[:whole, :width] = packed[: whole * width].reshape(-1, width)
        if rest := packed.size - whole * width:
            lanes[whole, :rest] = packed[whole * width :]
        for lane_bits, used_bits in ((64, 4 * width), (32, 2 * width), (16, width)):
            low, high = _lane_masks(lane_bits, used_bits)
            words = (words & low) | ((words << np.uint64(lane_bits // 2 - used_bits)) & high)
    return words.view(np.uint8)[:count]


def _lane_masks(lane_bits: int, used_bits: int) -> tuple[np.uint64, np.uint64]:
    """The low `used_bits` of both halves of every lane of a 64-bit word: (lower halves, upper halves)."""
    low = sum(((1 << used_bits) - 1) << start for start in range(0, 64, lane_bits))
    return np.uint64(low), np.uint64(low << (lane_bits // 2))
