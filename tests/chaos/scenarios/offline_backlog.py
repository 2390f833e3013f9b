"""offline-backlog"""

from __future__ import annotations

import random
import time

from chaos.evidence import count_stored, journal_state
from chaos.outcome import Outcome
from chaos.scenario import Load, Plan, Scenario
from chaos.scenarios.partition import CUT
from chaos.seed_run import SeedRun
from chaos.world import CLOUD_LINK, DEVICE_LINK, GOOD, LIVE

QUEUED = 26_500
SERVING_S = 10.0
# Beyond it nobody waits, however busy the machine is.
LONGEST_S = 60.0
RECORDED_S = 240.0
HANDED_ON_S = 240.0


class OfflineBacklog(Scenario):
    """Device and edge that restart offline with 26,500 frames queued serve again within 10 s, and deliver all.

    The device records with no broker in reach and is killed; then its frames go to the edge, which has no cloud in
    reach and is killed in turn; then the cloud comes back.
    """

    name = "offline-backlog"
    load = Load(frames=QUEUED, hz=0, options=("--window", "64"))
    realtime_hz = 5.0
    drain_s = 300.0
    unheard_most = 64

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"queued": QUEUED}

    async def strike(self, run: SeedRun) -> None:
        world = run.world
        await world.bend(CLOUD_LINK, CUT)
        await world.bend(DEVICE_LINK, CUT)
        await run.until(lambda: run.acknowledged() >= QUEUED, RECORDED_S, "all frames were recorded")
        run.facts["queued on the device"] = journal_state(run.outbox_file(run.nodes[0])).held
        run.facts["device serves s"] = await self._restart_device(run)
        held_s = time.monotonic()
        await world.bend(DEVICE_LINK, GOOD)
        journal = run.journal_file(world.edge.name)
        await run.until(lambda: journal_state(journal).held >= QUEUED - 100, HANDED_ON_S, "the edge had them all")
        run.facts["device to edge frames/s"] = round(QUEUED / (time.monotonic() - held_s))
        run.facts["queued on the edge"] = journal_state(journal).held
        run.facts["edge serves s"] = await self._restart_edge(run)
        run.serving_again_s = max(float(run.facts["device serves s"]), float(run.facts["edge serves s"]))
        run.fault("cloud back", await world.bend(CLOUD_LINK, GOOD))

    async def _restart_device(self, run: SeedRun) -> float:
        """Kill the camera, its supervisor too, and start it for a few more frames; until it acknowledges one."""
        run.camera.kill()
        before = run.acknowledged()
        began_s = time.monotonic()
        run.camera.arguments[run.camera.arguments.index("--frames") + 1] = "20"
        run.camera.start()
        await run.until_recorded(before, LONGEST_S)
        return round(time.monotonic() - began_s, 2)

    async def _restart_edge(self, run: SeedRun) -> float:
        """Kill the edge, and wait until it answers realtime frames again."""
        world = run.world
        world.edge.kill()
        began_s = time.monotonic()
        world.edge.start()
        await world.edge.wait_ready(LONGEST_S)
        await run.until_status(world.devices[LIVE], 200, LONGEST_S)
        await run.until(
            lambda: any(not frame.failed for frame in run.realtime(began_s)), LONGEST_S, "a frame was answered"
        )
        return round(time.monotonic() - began_s, 2)

    async def settle(self, run: SeedRun) -> None:
        took_s = time.monotonic() - run.faults[-1].at_s
        run.facts["edge to cloud frames/s"] = round(count_stored(run.store_file, run.nodes) / took_s)

    def broken(self, outcome: Outcome) -> list[str]:
        return [*outcome.over("device serves s", SERVING_S), *outcome.over("edge serves s", SERVING_S)]
