"""Who works on a run: its owner beats while it lives, and a beat that stands still for long enough is over.

Beats are counted, not dated: whether one stands still is seen by whoever looks, by its own monotonic clock, so no
two hosts need to agree about the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

BEAT_S = 1.0
LEASE_S = 8.0
# Who has not looked for longer cannot tell whether a beat stood still: what kept it may have kept the owner, too.
_BLIND_S = LEASE_S / 2


class Lease(NamedTuple):
    """An unfinished run; `owner` is empty if it was given up."""

    run: str
    owner: str
    beat: int


class LeaseWatch:
    """Remembers since when each beat stands still, in looks that follow each other closely."""

    def __init__(self) -> None:
        self._since_s: dict[Lease, float] = {}
        self._looked_s = 0.0

    def free(self, leases: Iterable[Lease], now_s: float) -> list[Lease]:
        """Those that nobody works on; leases that are not told of any more are forgotten.

        After a pause in which nobody looked, all are counted anew.
        """
        known = {} if now_s - self._looked_s > _BLIND_S else self._since_s
        self._since_s = {lease: known.get(lease, now_s) for lease in leases}
        self._looked_s = now_s
        return [lease for lease, at_s in self._since_s.items() if not lease.owner or now_s - at_s >= LEASE_S]
