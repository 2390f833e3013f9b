"""When bytes arrive over an emulated link: pure arithmetic, on any clock in seconds.

A direction sends one chunk after another at its rate; the last bit of a chunk arrives half a round trip after it
was sent. What is emulated is a TCP connection that is long open: no handshake, no slow start, no congestion window.
A lost packet costs its connection a further round trip, at least RECOVERY_LEAST_S, and its bytes are sent again;
what follows on that connection waits for it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import ceil

from tercet_cloud.emulation.link_condition import LinkCondition

PACKET_BYTES = 1448
RECOVERY_LEAST_S = 0.01
# Short enough for connections to take turns and changes to bite; long enough to cost little.
_CHUNK_S = 0.005
_MOST_CHUNK_BYTES = 65536
# What a connection may hold beside what is on its way: for what a stall or a lost packet keeps back. The most is
# like a TCP window: it bounds the rate of one connection over a long, fast link.
_SPARE_BYTES = 65536
_SPARE_S = 0.05
MOST_HELD_BYTES = 4 << 20


@dataclass(frozen=True)
class Slot:
    """When a chunk's last bit has left, and when it arrives."""

    sent_s: float
    arrives_s: float


class ShapedDirection:
    """One direction of a link, which all its connections share."""

    def __init__(self, mbps: float, condition: LinkCondition, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._free_s = 0.0
        self.change(mbps, condition)

    def change(self, mbps: float, condition: LinkCondition) -> None:
        """What is sent from now on; what has a slot keeps it."""
        self._bytes_per_s = mbps * 1e6 / 8
        self._delay_s = condition.round_trip_ms / 2000
        self._jitter_s = condition.jitter_ms / 1000
        self._loss = condition.loss
        self._recovery_s = max(condition.round_trip_ms / 1000, RECOVERY_LEAST_S)

    @property
    def chunk_bytes(self) -> int:
        """How much to send in one slot at most."""
        return min(_MOST_CHUNK_BYTES, max(PACKET_BYTES, int(self._bytes_per_s * _CHUNK_S)))

    @property
    def held_bytes(self) -> int:
        """How much of one connection may be under way; beyond it, its sender has to wait."""
        under_way_s = 2 * self._recovery_s + self._jitter_s + _SPARE_S
        return min(MOST_HELD_BYTES, _SPARE_BYTES + int(self._bytes_per_s * under_way_s))

    def send(self, now_s: float, size_bytes: int, after_s: float = 0.0) -> Slot:
        """The next slot, for a chunk that is ready at `now_s`; arrives no earlier than `after_s`."""
        rounds, lost_packets = self._losses(ceil(size_bytes / PACKET_BYTES))
        began_s = max(now_s, self._free_s)
        self._free_s = began_s + (size_bytes + lost_packets * PACKET_BYTES) / self._bytes_per_s
        late_s = self._random.uniform(0, self._jitter_s) if self._jitter_s else 0.0
        arrives_s = self._free_s + self._delay_s + late_s + rounds * self._recovery_s
        return Slot(self._free_s, max(arrives_s, after_s))

    def _losses(self, packets: int) -> tuple[int, int]:
        """How often something had to be sent again, and how many packets in all."""
        rounds, in_all = 0, 0
        while self._loss and packets:
            packets = sum(self._random.random() < self._loss for _ in range(packets))
            if packets:
                rounds, in_all = rounds + 1, in_all + packets
        return rounds, in_all


class ShapedLink:
    """Both directions."""

    def __init__(self, condition: LinkCondition, seed: int = 0) -> None:
        self.condition = condition
        self.up = ShapedDirection(condition.up_mbps, condition, seed)
        self.down = ShapedDirection(condition.down_mbps, condition, seed + 1)

    def change(self, condition: LinkCondition) -> None:
        self.condition = condition
        self.up.change(condition.up_mbps, condition)
        self.down.change(condition.down_mbps, condition)
