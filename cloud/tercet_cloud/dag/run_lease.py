"""Who works on a run: its owner beats while it lives, and a beat that stands still for long enough is over.

Beats are counted, not dated: whether one stands still is seen by whoever looks, by its own monotonic clock, so no
two hosts need to agree about the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

BEAT_S = 1.0
LEASE_S = 8.0


class Lease(NamedTuple):
    """An unfinished run; `owner` is empty if it was given up."""

    run: str
    owner: str
    beat: int


class LeaseWatch:
    """Remembers since when each beat stands still."""

    def __init__(self) -> None:
        self._since_s: dict[Lease, float] = {}

    def free(self, leases: Iterable[Lease], now_s: float) -> list[Lease]:
        """Those that nobody works on; leases that are not told of any more are forgotten."""
        self._since_s = {lease: self._since_s.get(lease, now_s) for lease in leases}
        return [lease for lease, at_s in self._since_s.items() if not lease.owner or now_s - at_s >= LEASE_S]
