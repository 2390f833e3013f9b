"""half-open"""

from __future__ import annotations

import random
import time

from chaos.outcome import Outcome
from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import DEVICE_LINK, GOOD, LIVE
from tercet_cloud.emulation.link_condition import LinkCondition

NOTICED_S = 5.0
# Beyond it nobody waits, however busy the machine is.
LONGEST_S = 30.0
SILENT = LinkCondition(stalled_up=True, stalled_down=True)


class HalfOpen(Scenario):
    """A connection that stays open and carries nothing is noticed within 5 s; no durable frame is lost.

    The device says so by its readiness. The connection between device and broker is the one that goes silent.
    """

    name = "half-open"
    load = Load(frames=220, hz=20)

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"begin s": dice.uniform(0.1, 2.0), "silent s": dice.uniform(7, 9)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        live = run.world.devices[LIVE]
        silent_s = await run.world.bend(DEVICE_LINK, SILENT)
        await run.until_status(live, 503, LONGEST_S)
        run.facts["noticed s"] = round(time.monotonic() - silent_s, 2)
        await run.sleep_until(silent_s + run.number("silent s"))
        run.fault("healed", await run.world.bend(DEVICE_LINK, GOOD))

    def broken(self, outcome: Outcome) -> list[str]:
        return outcome.over("noticed s", NOTICED_S)
