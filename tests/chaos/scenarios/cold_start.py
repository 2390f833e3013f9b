"""cold-start"""

from __future__ import annotations

import random
import time

from chaos.outcome import Outcome
from chaos.part import Part
from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import LIVE

SERVING_S = 10.0
# Beyond it nobody waits, however busy the machine is.
LONGEST_S = 60.0
CLOUD_READY_S = 180.0


class ColdStart(Scenario):
    """Device and edge that restart with no broker and no cloud serve within 10 s, and reconcile on return.

    Everything is killed. The devices start first, alone: realtime frames are answered on the device, durable ones
    acknowledged. Then the edge starts, still without a cloud; then the cloud.
    """

    name = "cold-start"
    load = Load(frames=60, hz=10)
    unheard_most = 1

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"kill s": dice.uniform(0.2, 2.0), "alone s": dice.uniform(1, 3)}

    async def strike(self, run: SeedRun) -> None:
        world = run.world
        await run.sleep("kill s")
        live = world.devices[LIVE]
        for part in (live, run.camera, world.edge, world.cloud):
            part.kill()
        world.live.begin_anew()
        began_s = time.monotonic()
        for part in (live, run.camera):
            part.start()
        await run.until(lambda: self._answered(run, began_s), LONGEST_S, "the device answered by itself")
        await run.until_recorded(run.acknowledged(), LONGEST_S)
        run.facts["device serves s"] = round(time.monotonic() - began_s, 2)
        await run.sleep("alone s")
        edge_s = await self._start_edge(run, world.edge)
        run.facts["edge serves s"] = round(edge_s, 2)
        run.serving_again_s = max(float(run.facts["device serves s"]), edge_s)
        world.cloud.start()
        await world.cloud.wait_ready(CLOUD_READY_S)
        run.fault("all is back")

    @staticmethod
    async def _start_edge(run: SeedRun, edge: Part) -> float:
        began_s = time.monotonic()
        edge.start()
        await edge.wait_ready(LONGEST_S)
        return time.monotonic() - began_s

    @staticmethod
    def _answered(run: SeedRun, from_s: float) -> bool:
        return any(not frame.failed for frame in run.realtime(from_s))

    def broken(self, outcome: Outcome) -> list[str]:
        return [*outcome.over("device serves s", SERVING_S), *outcome.over("edge serves s", SERVING_S)]
