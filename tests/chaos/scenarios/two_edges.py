"""two-edges"""

from __future__ import annotations

import random

from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import Layout

READY_S = 60.0


class TwoEdges(Scenario):
    """Of two edges behind one shared subscription one dies: the other serves all, what the dead one held is kept.

    The broker is neither's. The dead edge stays away for some seconds, then comes back and hands on what it held,
    so that results may be stored after younger ones; the store must say so of each.
    """

    name = "two-edges"
    layout = Layout(edges=2, broker_apart=True)
    load = Load(frames=100, hz=15, devices=2)
    late_allowed = True

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"kill s": dice.uniform(0.2, 2.5), "which": dice.randrange(2), "away s": dice.uniform(2, 5)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("kill s")
        edge = run.world.edges[int(run.number("which"))]
        edge.kill()
        run.fault("edge killed")
        await run.sleep("away s")
        edge.start()
        await edge.wait_ready(READY_S)
