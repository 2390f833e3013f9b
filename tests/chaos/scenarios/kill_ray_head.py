"""kill-ray-head"""

from __future__ import annotations

import random

from chaos.part import Stuck
from chaos.scenario import Plan, Scenario
from chaos.seed_run import SeedRun

READY_S = 120.0
PROCESSES = ("gcs_server", "raylet")


class KillRayHead(Scenario):
    """A Ray head that is killed costs realtime frames at most a degraded answer, durable ones nothing.

    Either the head's control store or its node manager is killed; the cloud starts its Ray anew.
    """

    name = "kill-ray-head"
    drain_s = 120.0

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"kill s": dice.uniform(0.1, 2.5), "process": dice.choice(PROCESSES)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("kill s")
        process = str(run.plan["process"])
        found = run.world.ray_pids(process)
        if not found:
            raise Stuck(f"the cloud has no {process}")
        for pid in found:
            run.kill(pid)
        run.fault(f"{process} killed")
        await run.until(
            lambda: bool({*run.world.ray_pids(process)} - {*found}), READY_S, f"another {process} started"
        )
        await run.world.cloud.wait_ready(READY_S)
