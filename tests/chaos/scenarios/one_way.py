"""one-way"""

from __future__ import annotations

import random

from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import CLOUD_LINK, DEVICE_LINK, GOOD
from tercet_cloud.emulation.link_condition import LinkCondition


class OneWay(Scenario):
    """A link that carries only one way holds durable frames up, loses none and doubles none.

    Either acknowledgements do not come back, so that everything is sent again, or frames do not arrive.
    """

    name = "one-way"
    load = Load(frames=200, hz=20)

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {
            "begin s": dice.uniform(0.1, 2.0),
            "link": dice.choice((DEVICE_LINK, CLOUD_LINK)),
            "direction": dice.choice(("up", "down")),
            "stalled s": dice.uniform(3, 8),
        }

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        link, up = str(run.plan["link"]), run.plan["direction"] == "up"
        await run.world.bend(link, LinkCondition(stalled_up=up, stalled_down=not up))
        await run.sleep("stalled s")
        run.fault(f"{link} healed", await run.world.bend(link, GOOD))
