"""The three tiers, in the order data flows."""

from __future__ import annotations

from enum import StrEnum

from tercet.v1 import frame_pb2 as pb


class Tier(StrEnum):
    DEVICE = "device"
    EDGE = "edge"
    CLOUD = "cloud"

    @property
    def wire(self) -> pb.Tier:
        return _WIRE[self]

    @classmethod
    def from_wire(cls, code: int) -> Tier | None:
        """The tier of a wire code; None for one of a newer peer."""
        return next((tier for tier, wire in _WIRE.items() if wire == code), None)


_WIRE = {Tier.DEVICE: pb.TIER_DEVICE, Tier.EDGE: pb.TIER_EDGE, Tier.CLOUD: pb.TIER_CLOUD}
