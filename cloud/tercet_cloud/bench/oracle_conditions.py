"""Under which emulated links the planner is held against measurement, and the one its link overheads come from."""

from __future__ import annotations

from dataclasses import dataclass

from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Tiers, TierSpec, Topology


@dataclass(frozen=True)
class LinkPair:
    """Both links of a stack."""

    device_edge: LinkCondition
    edge_cloud: LinkCondition

    def __str__(self) -> str:
        return f"device–edge {self.device_edge}; edge–cloud {self.edge_cloud}"


@dataclass(frozen=True)
class Slowdowns:
    """By how much tiers are slowed, by sleeping; the cloud runs as fast as this machine."""

    device: float = 12.0
    edge: float = 3.0


@dataclass(frozen=True)
class StackFigures:
    """What was measured of a stack under CALIBRATION; a topology states it.

    Slow-downs are against the profiles; overheads are what messaging costs a frame beside round trip and bytes,
    both ways, in ms.
    """

    device_slowdown: float
    edge_slowdown: float
    cloud_slowdown: float
    device_edge_overhead_ms: float
    edge_cloud_overhead_ms: float


def _pair(near: tuple[float, float], far: tuple[float, float]) -> LinkPair:
    """Of (Mbit/s, round trip ms) each."""
    return LinkPair(LinkCondition.symmetric(*near), LinkCondition.symmetric(*far))


# None of those that are evaluated.
CALIBRATION = _pair((40, 15), (40, 15))

CONDITIONS = (
    _pair((1, 80), (20, 40)),
    _pair((2, 60), (50, 30)),
    _pair((4, 30), (4, 120)),
    _pair((8, 40), (100, 10)),
    _pair((8, 15), (50, 20)),
    _pair((15, 10), (5, 80)),
    _pair((20, 30), (200, 5)),
    _pair((25, 5), (50, 25)),
    _pair((50, 5), (10, 60)),
    _pair((60, 8), (100, 12)),
    _pair((100, 2), (2, 100)),
    _pair((100, 2), (100, 5)),
    LinkPair(
        LinkCondition(up_mbps=3, down_mbps=30, round_trip_ms=50),
        LinkCondition(up_mbps=10, down_mbps=100, round_trip_ms=25),
    ),
)
QUICK = (CONDITIONS[1], CONDITIONS[7], CONDITIONS[11])


def topology_of(links: LinkPair, figures: StackFigures, constraints: Constraints) -> Topology:
    """What an operator would state of the emulated stack."""
    return Topology(
        name="emulated stack",
        note="Device, edge and both links are emulated on one machine.",
        tiers=Tiers(
            device=TierSpec(slowdown=figures.device_slowdown),
            edge=TierSpec(slowdown=figures.edge_slowdown),
            cloud=TierSpec(slowdown=figures.cloud_slowdown),
        ),
        links=Links(
            device_edge=_spec(links.device_edge, figures.device_edge_overhead_ms),
            edge_cloud=_spec(links.edge_cloud, figures.edge_cloud_overhead_ms),
        ),
        constraints=constraints,
    )


def _spec(link: LinkCondition, overhead_ms: float) -> LinkSpec:
    return LinkSpec(
        up_mbps=link.up_mbps,
        down_mbps=link.down_mbps,
        round_trip_ms=link.round_trip_ms,
        overhead_ms=overhead_ms,
    )
