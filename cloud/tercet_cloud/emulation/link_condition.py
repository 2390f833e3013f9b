"""What an emulated link is like at one moment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from tercet.documents import Document

# As good as no limit: the loopback itself is about as fast.
UNLIMITED_MBPS = 10_000.0

Mbps = Annotated[FiniteFloat, Field(ge=0.001, le=100_000)]
DelayMs = Annotated[FiniteFloat, Field(ge=0, le=60_000)]


class LinkCondition(Document):
    """One link, as the side nearer to the device sees it.

    Attributes:
        up_mbps, down_mbps: towards the cloud, and back; 10^6 bits per second of what TCP carries.
        round_trip_ms: half of it in each direction.
        jitter_ms: up to so much more in each direction, evenly spread; what was sent first still arrives first.
        loss: share of packets lost. TCP sends them again, so bytes come late, never not at all.
        stalled_up, stalled_down: half-open: connections stay and take bytes, but none arrive until this ends.
        cut: connections are reset, new ones at once.
    """

    up_mbps: Mbps = UNLIMITED_MBPS
    down_mbps: Mbps = UNLIMITED_MBPS
    round_trip_ms: DelayMs = 0.0
    jitter_ms: DelayMs = 0.0
    loss: Annotated[FiniteFloat, Field(ge=0, le=0.5)] = 0.0
    stalled_up: bool = False
    stalled_down: bool = False
    cut: bool = False

    @classmethod
    def symmetric(cls, mbps: float, round_trip_ms: float) -> LinkCondition:
        return cls(up_mbps=mbps, down_mbps=mbps, round_trip_ms=round_trip_ms)

    def __str__(self) -> str:
        """For people: "8/20 Mbit/s, 40 ms round trip, 1% loss"."""
        parts = [f"{self.up_mbps:g}/{self.down_mbps:g} Mbit/s", f"{self.round_trip_ms:g} ms round trip"]
        if self.jitter_ms:
            parts.append(f"up to {self.jitter_ms:g} ms jitter")
        if self.loss:
            parts.append(f"{self.loss:.3g} loss")
        stalled = [name for name, set_ in (("up", self.stalled_up), ("down", self.stalled_down)) if set_]
        if stalled:
            parts.append(f"half-open {' and '.join(stalled)}")
        return "cut" if self.cut else ", ".join(parts)
