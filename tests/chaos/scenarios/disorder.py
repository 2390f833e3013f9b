"""disorder"""

from __future__ import annotations

import random

from chaos.outcome import Outcome
from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun
from chaos.world import Layout


class Disorder(Scenario):
    """Messages that arrive twice, late or out of order, and answers that get lost, change nothing of the results.

    Durable messages cross between the devices' broker and the edge's by way of a process that does so to them, and
    deliveries to the cloud likewise.
    """

    name = "disorder"
    layout = Layout(disordered=True)
    load = Load(frames=200, hz=40)

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"for s": dice.uniform(3, 5)}

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("for s")

    def broken(self, outcome: Outcome) -> list[str]:
        if not int(outcome.facts["repeats"]):
            return ["nothing was repeated, so nothing was tried"]
        return []
