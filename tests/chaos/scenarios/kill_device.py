"""kill-device"""

from __future__ import annotations

import random
import time

from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun

READY_S = 60.0


class KillDevice(Scenario):
    """A device that is killed at any moment loses no frame that it has acknowledged.

    Its supervisor starts it again, and it goes on with what its outbox holds. A frame that was on its disk when
    it died, before the application heard of it, may be stored as well.
    """

    name = "kill-device"
    load = Load(frames=100, hz=20)
    unheard_most = 2

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"first kill s": dice.uniform(0.1, 1.5), "second kill s": dice.uniform(0.1, 1.5)}

    async def strike(self, run: SeedRun) -> None:
        for name in ("first kill s", "second kill s"):
            await run.sleep(name)
            killed = await run.camera.kill_serving()
            run.fault("device killed")
            told = run.acknowledged()
            await run.camera.wait_ready(READY_S, other_than=killed)
            await run.until_recorded(told, READY_S)
            run.serving_again(time.monotonic())
