"""kill-replica"""

from __future__ import annotations

import random

from chaos.part import Stuck
from chaos.scenario import Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import Layout

REPLICA = "ray::ServeReplica"
BACK_S = 60.0


class KillReplica(Scenario):
    """A Serve replica that is killed costs realtime frames at most a degraded answer, durable ones nothing."""

    name = "kill-replica"
    layout = Layout(cloud=("--replicas", "2"))

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"kill s": dice.uniform(0.1, 2.5), "which": dice.randrange(2)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("kill s")
        replicas = sorted(run.world.ray_pids(REPLICA))
        if len(replicas) != 2:
            raise Stuck(f"the cloud has {len(replicas)} replicas instead of 2")
        killed = replicas[int(run.number("which"))]
        run.kill(killed)
        run.fault("replica killed")
        await run.until(
            lambda: len({*run.world.ray_pids(REPLICA)} - {killed}) == 2, BACK_S, "another replica started"
        )
