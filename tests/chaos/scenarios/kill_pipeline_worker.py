"""kill-pipeline-worker"""

from __future__ import annotations

import random

from chaos.pipelines.scenario import PipelineScenario
from chaos.pipelines.seed import PipelineSeed
from chaos.scenario import Plan


class KillPipelineWorker(PipelineScenario):
    """A worker that is killed while it computes a node costs that node a try, and its run nothing."""

    name = "kill-pipeline-worker"

    def choose(self, dice: random.Random, seed: int) -> Plan:
        return {"kills": dice.randint(1, 2), "second later": dice.uniform(0.05, 0.2)}

    async def strike(self, run: PipelineSeed) -> None:
        cut: list[str] = []
        for number in range(int(run.number("kills"))):
            share = run.number("kill at") + number * run.number("second later")
            # Of a node whose worker died twice nobody knows that it is innocent.
            execution = await run.until_executing(share, spare=cut)
            cut.append(execution.key)
            run.killed.add(execution.pid)
            run.kill(execution.pid)
            run.fault("worker killed")
            await run.until_workers_again(execution.pid)
