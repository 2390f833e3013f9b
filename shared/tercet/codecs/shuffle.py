"""Regrouping payload bytes so that an entropy stage sees like beside like. Exact, and of the same length.

Both work on items of w bytes (4 for raw float32, 2 for fp16 and bf16, 1 for steps). What does not fill a group at
the end of the payload follows unchanged.

    shuffle      all first bytes of the items, then all second ones, …           group: one item
    bitshuffle   all lowest bits of the items, then all second lowest, …         group: eight items
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Buffer

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shuffle:
    """One way to regroup, and back: both take the payload and the item size in bytes."""

    group_items: int
    _mix: Callable[[_Bytes, int], _Bytes]
    _restore: Callable[[_Bytes, int], _Bytes]

    def mix(self, payload: Buffer, item_bytes: int) -> bytes:
        return self._apply(self._mix, payload, item_bytes)

    def restore(self, payload: Buffer, item_bytes: int) -> bytes:
        return self._apply(self._restore, payload, item_bytes)

    def _apply(self, change: Callable[[_Bytes, int], _Bytes], payload: Buffer, item_bytes: int) -> bytes:
        octets = np.frombuffer(payload, np.uint8)
        group_bytes = self.group_items * item_bytes
        whole = octets.size // group_bytes * group_bytes
        return change(octets[:whole], item_bytes).tobytes() + octets[whole:].tobytes()


def _mix_bytes(octets: _Bytes, item_bytes: int) -> _Bytes:
    return octets.reshape(-1, item_bytes).T


def _restore_bytes(octets: _Bytes, item_bytes: int) -> _Bytes:
    return octets.reshape(item_bytes, -1).T


def _mix_bits(octets: _Bytes, item_bytes: int) -> _Bytes:
    items = octets.reshape(-1, item_bytes)
    # A plane at a time: all bits at once would take eight times the payload.
    planes = [
        np.packbits((items[:, place] >> bit) & 1, bitorder="little")
        for place in range(item_bytes)
        for bit in range(8)
    ]
    return np.concatenate(planes)


def _restore_bits(octets: _Bytes, item_bytes: int) -> _Bytes:
    planes = octets.reshape(8 * item_bytes, -1)
    items = np.zeros((planes.shape[1] * 8, item_bytes), np.uint8)
    for number, plane in enumerate(planes):
        items[:, number // 8] |= np.unpackbits(plane, bitorder="little") << (number % 8)
    return items


SHUFFLES = {
    "shuffle": Shuffle(1, _mix_bytes, _restore_bytes),
    "bitshuffle": Shuffle(8, _mix_bits, _restore_bits),
}
