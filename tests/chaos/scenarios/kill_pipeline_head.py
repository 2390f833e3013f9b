"""kill-pipeline-head"""

from __future__ import annotations

import random
import time

from chaos.part import Stuck, titled
from chaos.pipelines.scenario import PipelineScenario
from chaos.pipelines.seed import PipelineSeed, still_running
from chaos.scenario import Plan

PROCESSES = ("gcs_server", "raylet")
NOTICED_S = 60.0
GONE_S = 20.0
# EX_UNAVAILABLE, and how the one line begins.
STATUS, WORDS = 69, "tercet: Ray has ended under run "


class KillPipelineHead(PipelineScenario):
    """A Ray head that is killed under a run ends its command in one line, and `tercet pipeline retry` completes it.

    Either the head's control store or its node manager is killed, of the Ray that the command itself has started. A
    command that brings its run to its end all the same is as good.
    """

    name = "kill-pipeline-head"
    on_cluster = False
    # Each has a Ray of its own.
    runs = 1

    def choose(self, dice: random.Random, seed: int) -> Plan:
        return {"process": PROCESSES[seed % len(PROCESSES)]}

    async def strike(self, run: PipelineSeed) -> None:
        (name,) = run.shapes
        command = run.world.commands[name]
        await run.until_executing(run.number("kill at"))
        process = str(run.plan["process"])
        family = command.tree()
        run.killed.update(each.pid for each in family)
        found = titled(process, family)
        if len(found) != 1:
            raise Stuck(f"the command has {len(found)} processes called {process} instead of one")
        run.excused.add(name)
        run.kill(found[0])
        run.fault(f"{process} killed")
        status = await command.wait_exit(NOTICED_S)
        run.facts["noticed s"] = round(time.monotonic() - run.faults[-1].at_s, 1)
        said = command.last_words()
        if status and not (status == STATUS and said.startswith(WORDS)):
            raise Stuck(f"{command.name} ended with status {status}: {said}")
        await run.until(lambda: not still_running(family), GONE_S, "all of the command's processes were gone")
        run.look()
        if run.done(name):
            return
        retry = run.world.retry(name)
        await run.ended_well(retry)
        run.serving_again(time.monotonic())
