"""disk-full"""

from __future__ import annotations

import random

from chaos.part import Part, Stuck
from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import Layout
from tercet.limits import MIB

SIZE_BYTES = 32 * MIB
WHOSE = ("cameras", "edge-1", "cloud")


class DiskFull(Scenario):
    """A full disk of device, edge or cloud ends in back-pressure, never in a crash or a frame lost.

    The state of all tiers lies on file systems of 32 MiB (tmpfs where it may be mounted), of which one is filled to
    the last block for some seconds. Nobody's process may end for it.
    """

    name = "disk-full"
    layout = Layout(small_disk_bytes=dict.fromkeys(WHOSE, SIZE_BYTES))
    load = Load(frames=240, hz=40, plan="whole")

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"begin s": dice.uniform(0.1, 2.0), "whose": WHOSE[seed % len(WHOSE)], "full s": dice.uniform(3, 6)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        whose = str(run.plan["whose"])
        part = {"cameras": run.camera, "edge-1": run.world.edge, "cloud": run.world.cloud}[whose]
        before = await part.serving_pid()
        disk = run.world.disks[whose]
        run.facts["disk"] = disk.kind
        disk.fill(part.tree())
        await run.sleep("full s")
        disk.clear(part.tree())
        run.fault(f"disk of {whose} has room")
        await self._lives(part, before)

    async def _lives(self, part: Part, before: int) -> None:
        if part.running and await part.serving_pid() not in (0, before):
            raise Stuck(f"{part.name} died of a full disk: {part.last_words()}")
