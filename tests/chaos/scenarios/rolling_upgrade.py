"""rolling-upgrade"""

from __future__ import annotations

import random
import signal

from chaos.scenario import Load, Plan, Scenario
from chaos.scenarios.kill_replica import REPLICA
from chaos.seed_run import SeedRun
from chaos.world import Layout

UPGRADED_S = 60.0


class RollingUpgrade(Scenario):
    """A cloud that is upgraded under load, replica by replica, fails no request and loses no durable frame."""

    name = "rolling-upgrade"
    layout = Layout(cloud=("--replicas", "2"))
    load = Load(frames=200, hz=20)
    realtime_hz = 20.0
    drain_s = 90.0

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"begin s": dice.uniform(0.1, 1.5)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        before = {*run.world.ray_pids(REPLICA)}
        run.world.cloud.signal(signal.SIGHUP, await run.world.cloud.serving_pid())
        run.fault("upgrade began")
        await run.until(
            lambda: (
                len({*run.world.ray_pids(REPLICA)} - before) >= 2 and not {*run.world.ray_pids(REPLICA)} & before
            ),
            UPGRADED_S,
            "both replicas were replaced",
        )
        await run.world.cloud.wait_ready(UPGRADED_S)
