"""What the demo pretends: a small camera, a small gateway, and the links between them and a cloud."""

from __future__ import annotations

from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Tiers, TierSpec, Topology
from tercet_cloud.stack.local_stack import Emulation

# Against one thread of this machine: about a single-board computer's, and a small gateway's.
DEVICE_SLOWDOWN, EDGE_SLOWDOWN = 20.0, 6.0
# Wi-Fi in the next room, and a line to the cloud.
WIFI = LinkCondition.symmetric(20, 5)
UPLINK = LinkCondition.symmetric(10, 20)
# What messaging costs a frame on each link, as `tercet bench hops` measures it.
DEVICE_EDGE_OVERHEAD_MS, EDGE_CLOUD_OVERHEAD_MS = 2.3, 2.7
MAX_ACCURACY_DROP = 0.1
# For the bandwidth step: a device so slow that it asks for help while the link is good, and a link that is not.
STEP_DEVICE_SLOWDOWN = 40.0
STEP_SLOW = LinkCondition.symmetric(1, 5)

EMULATION = Emulation(WIFI, UPLINK, DEVICE_SLOWDOWN, EDGE_SLOWDOWN)


def demo_topology() -> Topology:
    """The same as an operator would state it."""
    return Topology(
        name="demo",
        note=EMULATION.describe(),
        tiers=Tiers(device=TierSpec(slowdown=DEVICE_SLOWDOWN), edge=TierSpec(slowdown=EDGE_SLOWDOWN)),
        links=Links(
            device_edge=_spec(WIFI, DEVICE_EDGE_OVERHEAD_MS), edge_cloud=_spec(UPLINK, EDGE_CLOUD_OVERHEAD_MS)
        ),
        constraints=Constraints(max_accuracy_drop=MAX_ACCURACY_DROP),
    )


def _spec(link: LinkCondition, overhead_ms: float) -> LinkSpec:
    return LinkSpec(
        up_mbps=link.up_mbps,
        down_mbps=link.down_mbps,
        round_trip_ms=link.round_trip_ms,
        overhead_ms=overhead_ms,
    )
