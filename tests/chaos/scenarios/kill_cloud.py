"""kill-cloud"""

from __future__ import annotations

import random

from chaos.scenario import Plan, Scenario
from chaos.seed_run import SeedRun

READY_S = 180.0


class KillCloud(Scenario):
    """A cloud whose main process is killed, all of its Ray with it, loses no result that it has acknowledged.

    Edges answer realtime frames themselves meanwhile, and say so; they keep durable ones until the supervisor has
    the cloud up again.
    """

    name = "kill-cloud"

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"kill s": dice.uniform(0.1, 2.5)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("kill s")
        killed = await run.world.cloud.kill_serving()
        run.fault("cloud killed")
        run.serving_again(await run.world.cloud.wait_ready(READY_S, other_than=killed))
