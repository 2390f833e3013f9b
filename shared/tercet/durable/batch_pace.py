"""How much a holder of durable frames sends in one message, and how long it waits for the receipt. Pure.

One message is under way at a time: with two, the second could be taken and the first lost, and the order of a
device's frames with it. A message is kept so small that its receipt comes soon, because on a slow link realtime
frames wait behind it, and so large that the way does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, takewhile

from tercet.errors import SpecError
from tercet.limits import MAX_CALL_FRAMES, MIB

MAX_BATCH_BYTES = MIB // 4
MAX_BATCH_FRAMES = MAX_CALL_FRAMES
# Receipts are awaited this long at first, and at most; after misses longer and longer.
FIRST_TIMEOUT_S = 2.0
LONGEST_TIMEOUT_S = 30.0
# A receipt may take so many times longer than the last ones did.
_PATIENCE = 4.0
_MEMORY = 0.3
_START = 1 / 8


class BatchPace:
    """Of one sender. Not thread-safe.

    Args:
        target_s: a receipt should be there after so long.
        first_timeout_s, longest_timeout_s: see the module.
    """

    def __init__(
        self,
        target_s: float,
        *,
        first_timeout_s: float = FIRST_TIMEOUT_S,
        longest_timeout_s: float = LONGEST_TIMEOUT_S,
    ) -> None:
        if not 0 < target_s <= first_timeout_s <= longest_timeout_s:
            raise SpecError("a receipt is awaited at least as long as it should take")
        self._target_s = target_s
        self._first_timeout_s = first_timeout_s
        self._longest_timeout_s = longest_timeout_s
        self._share = _START
        self._took_s = 0.0
        self._misses = 0

    @property
    def max_frames(self) -> int:
        """Frames of the next message; it may always have one."""
        return max(1, int(self._share * MAX_BATCH_FRAMES))

    @property
    def max_bytes(self) -> int:
        """Bytes of the next message, unless it has one frame only."""
        return max(1, int(self._share * MAX_BATCH_BYTES))

    @property
    def missing(self) -> bool:
        """Whether the last message had no receipt: it may not be its size, but that nobody is there."""
        return self._misses > 0

    @property
    def timeout_s(self) -> float:
        """How long to wait for the next receipt."""
        patient_s = max(self._first_timeout_s, _PATIENCE * self._took_s)
        return min(self._longest_timeout_s, patient_s * float(2**self._misses))

    def fill(self, sizes_bytes: Iterable[int]) -> int:
        """How many of the frames that wait, given by their sizes in order, go into the next message."""
        sums = takewhile(lambda total: total <= self.max_bytes, accumulate(sizes_bytes))
        return max(1, min(self.max_frames, sum(1 for _ in sums)))

    def answered(self, frames: int, size_bytes: int, took_s: float) -> None:
        """A message had its receipt, whatever it said."""
        self._misses = 0
        self._took_s += _MEMORY * (took_s - self._took_s)
        if took_s > self._target_s:
            self._shrink()
        elif took_s < self._target_s / 2 and (frames > self.max_frames / 2 or size_bytes > self.max_bytes / 2):
            self._share = min(1.0, 2 * self._share)

    def missed(self) -> None:
        """No receipt came."""
        self._misses = min(self._misses + 1, 10)
        self._shrink()

    def _shrink(self) -> None:
        self._share = max(1 / MAX_BATCH_FRAMES, self._share / 2)
