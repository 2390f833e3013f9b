"""bandwidth-collapse"""

from __future__ import annotations

import random

from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import CLOUD_LINK, DEVICE_LINK, GOOD
from tercet_cloud.emulation.link_condition import LinkCondition


class BandwidthCollapse(Scenario):
    """A link that falls to some kbit/s, late and with losses, loses no durable frame and recovers at once."""

    name = "bandwidth-collapse"
    load = Load(frames=200, hz=20)

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {
            "begin s": dice.uniform(0.1, 2.0),
            "link": dice.choice((DEVICE_LINK, CLOUD_LINK)),
            "mbps": dice.uniform(0.02, 0.1),
            "round trip ms": dice.uniform(100, 600),
            "loss": dice.uniform(0.0, 0.2),
            "collapsed s": dice.uniform(4, 8),
        }

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        link, mbps = str(run.plan["link"]), run.number("mbps")
        collapsed = LinkCondition(
            up_mbps=mbps, down_mbps=mbps, round_trip_ms=run.number("round trip ms"), loss=run.number("loss")
        )
        await run.world.bend(link, collapsed)
        await run.sleep("collapsed s")
        run.fault(f"{link} healed", await run.world.bend(link, GOOD))
