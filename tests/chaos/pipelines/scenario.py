"""What scenarios of pipelines have in common: runs of drawn shapes, and that nothing is left of them afterwards."""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

from chaos.pipelines.seed import PipelineSeed
from chaos.pipelines.world import KEEPER, SCHEDULER, WORKER, WORKERS, PipelineWorld
from chaos.scenario import LiveScenario, Plan

TIDY_S = 20.0


class PipelineScenario(LiveScenario):
    """One of pipelines, which run on Ray and are kept in a store.

    A seed is kept if every run that was accepted ends as done with the right result; if no step runs again that was
    written down as done, nor one that no killed process computed; if the store has each result once; and if nothing
    runs afterwards that should not.
    """

    # Under way at once, each begun by a command of its own.
    runs: ClassVar[int] = 2
    # Whether they share a Ray that outlives their commands.
    on_cluster: ClassVar[bool] = True
    # From the end of the faults until all runs have ended.
    drain_s: ClassVar[float] = 90.0

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        # Two moments, as shares of all executions: late enough for something to be written down, early enough for
        # something to be left.
        return {
            "shape": dice.randrange(10**6),
            "kill at": dice.uniform(0.1, 0.7),
            **self.choose(dice, seed),
        }

    def choose(self, dice: random.Random, seed: int) -> Plan:
        """What else a seed draws."""
        return {}

    def world(self, folder: Path) -> PipelineWorld:
        return PipelineWorld(folder, cluster=self.on_cluster)

    def seed(self, world: PipelineWorld, seed: int, plan: Plan) -> PipelineSeed:
        return PipelineSeed(world, self, seed, plan)

    async def settle(self, run: PipelineSeed) -> None:
        """On a cluster one scheduler stays, with its keeper and its workers, and nothing else."""
        if not self.on_cluster:
            return
        wanted = {SCHEDULER: 1, KEEPER: 1, WORKER: WORKERS}
        await run.until(
            lambda: {title: len(run.world.processes(title)) for title in wanted} == wanted,
            TIDY_S,
            f"the cluster has {WORKERS} workers, one scheduler and one keeper, and no more",
        )
