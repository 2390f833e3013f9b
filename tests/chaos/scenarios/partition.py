"""partition"""

from __future__ import annotations

import asyncio
import random

from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import CLOUD_LINK, DEVICE_LINK, GOOD
from tercet_cloud.emulation.link_condition import LinkCondition

CUT = LinkCondition(cut=True)
LONG_S = 60.0


class Partition(Scenario):
    """A link that is cut holds durable frames up and loses none; realtime ones are answered on this side of it.

    The first seed cuts edge and cloud apart for 60 s; the others either link for 4 to 8 s.
    """

    name = "partition"
    load = Load(frames=240, hz=20)

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        link, cut_s = dice.choice((DEVICE_LINK, CLOUD_LINK)), dice.uniform(4, 8)
        begin_s = dice.uniform(0.1, 2.0)
        return {"begin s": begin_s, "link": CLOUD_LINK if first else link, "cut s": LONG_S if first else cut_s}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        link = str(run.plan["link"])
        await run.world.bend(link, CUT)
        await asyncio.sleep(run.number("cut s"))
        run.fault(f"{link} healed", await run.world.bend(link, GOOD))
