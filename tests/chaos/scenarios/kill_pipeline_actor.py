"""kill-pipeline-actor"""

from __future__ import annotations

import random
import time
from contextlib import suppress

import psutil

from chaos.part import Stuck
from chaos.pipelines.scenario import PipelineScenario
from chaos.pipelines.seed import BACK_S, PipelineSeed
from chaos.pipelines.world import KEEPER, SCHEDULER, WORKER, PipelineWorld
from chaos.scenario import Plan

ACTORS = ("warm model", "scheduler", "keeper")
MODEL_S = 30.0
# A scheduler's successor waits until the lease of the dead one is over.
TAKEN_OVER_S = 40.0


class KillPipelineActor(PipelineScenario):
    """An actor of a pipeline's Ray that is killed costs no run anything: who has a model warm, schedules or keeps.

    The three take turns. What the scheduler had under way dies with it: its workers are its own.
    """

    name = "kill-pipeline-actor"

    def choose(self, dice: random.Random, seed: int) -> Plan:
        return {"actor": ACTORS[seed % len(ACTORS)], "which": dice.randrange(2)}

    async def strike(self, run: PipelineSeed) -> None:
        actor = run.plan["actor"]
        await run.until_executing(run.number("kill at"))
        if actor == "warm model":
            await run.until(lambda: bool(_warm(run.world)), MODEL_S, "a worker holds a model")
            warm = _warm(run.world)
            pid = warm[int(run.number("which")) % len(warm)]
            run.killed.add(pid)
        else:
            title = SCHEDULER if actor == "scheduler" else KEEPER
            pid = _only(run.world, title)
            if actor == "scheduler":
                run.killed.update(run.world.processes(WORKER))
        run.kill(pid)
        run.fault(f"{actor} killed")
        if actor == "warm model":
            await run.until_workers_again(pid)
        elif actor == "keeper":
            await run.until(lambda: bool({*run.world.processes(KEEPER)} - {pid}), BACK_S, "another keeper started")
            run.serving_again(time.monotonic())
        else:
            await self._until_taken_over(run)

    async def _until_taken_over(self, run: PipelineSeed) -> None:
        """Until another scheduler computes something, or all runs turn out to have ended."""
        at_s = run.faults[-1].at_s

        def taken_over() -> bool:
            fresh = [
                each.began_s for each in run.executions() if each.began_s > at_s and each.pid not in run.killed
            ]
            if fresh:
                run.serving_again(fresh[0])
            return bool(fresh) or all(map(run.done, run.shapes))

        await run.until(taken_over, TAKEN_OVER_S, "another scheduler went on with the runs")


def _only(world: PipelineWorld, title: str) -> int:
    found = world.processes(title)
    if len(found) != 1:
        raise Stuck(f"there are {len(found)} processes called {title} instead of one")
    return found[0]


def _warm(world: PipelineWorld) -> list[int]:
    """Workers that hold a model: only they have ONNX Runtime in their memory."""
    found = []
    for pid in world.processes(WORKER):
        with suppress(psutil.Error):
            if any("onnxruntime" in region.path for region in psutil.Process(pid).memory_maps()):
                found.append(pid)
    return found
