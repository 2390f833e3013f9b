"""kill-broker"""

from __future__ import annotations

import os
import random
import signal
import time

from chaos.part import Stuck
from chaos.scenario import Plan, Scenario
from chaos.seed_run import SeedRun

BACK_S = 60.0


class KillBroker(Scenario):
    """A broker that is killed at any moment costs no durable frame: it is trusted with none.

    The embedded one is killed alone; its edge starts another on the same port.
    """

    name = "kill-broker"

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"kill s": dice.uniform(0.1, 2.5)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("kill s")
        killed = run.world.broker_pid()
        if not killed:
            raise Stuck("nobody listens on the broker's port")
        os.kill(killed, signal.SIGKILL)
        run.fault("broker killed")
        await run.until(lambda: run.world.broker_pid() not in (0, killed), BACK_S, "the broker came back")
        run.serving_again(time.monotonic())
