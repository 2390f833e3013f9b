"""rolling-upgrade"""

from __future__ import annotations

import random
import time

from chaos.scenario import Load, Plan, Scenario
from chaos.scenarios.kill_replica import REPLICA
from chaos.seed_run import SeedRun
from chaos.world import Layout

UPGRADED_S = 90.0


class RollingUpgrade(Scenario):
    """A cloud that is upgraded under load, replica by replica, fails no request and loses no durable frame.

    Another deployment is rolled out by `tercet cloud redeploy` while realtime and durable frames come.
    """

    name = "rolling-upgrade"
    layout = Layout(cloud=("--replicas", "2"))
    load = Load(frames=200, hz=20)
    realtime_hz = 20.0

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"begin s": dice.uniform(0.1, 1.5)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        before = {*run.world.ray_pids(REPLICA)}
        run.fault("upgrade began")
        await run.world.redeploy(f"spare-{run.seed}", UPGRADED_S)
        run.facts["upgraded s"] = round(time.monotonic() - run.faults[-1].at_s, 1)
        await run.until(
            lambda: not {*run.world.ray_pids(REPLICA)} & before, UPGRADED_S, "both replicas were replaced"
        )
