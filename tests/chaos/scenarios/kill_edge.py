"""kill-edge"""

from __future__ import annotations

import random

from chaos.scenario import Plan, Scenario
from chaos.seed_run import SeedRun

READY_S = 60.0


class KillEdge(Scenario):
    """An edge that is killed at any moment, its broker with it, loses no frame that it has acknowledged.

    Its supervisor starts it again; devices connect anew, are answered as planned again, and send what was not
    acknowledged.
    """

    name = "kill-edge"

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"kill s": dice.uniform(0.1, 2.5)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("kill s")
        killed = await run.world.edge.kill_serving()
        run.fault("edge killed")
        run.serving_again(await run.world.edge.wait_ready(READY_S, other_than=killed))
