"""slow-consumer"""

from __future__ import annotations

import os
import random
import signal

from chaos.outcome import Outcome
from chaos.part import Stuck
from chaos.scenario import Load, Plan, Scenario
from chaos.scenarios.kill_replica import REPLICA
from chaos.seed_run import SeedRun
from chaos.world import CLOUD_LINK, GOOD, Layout
from tercet_cloud.emulation.link_condition import LinkCondition

POLICIES = ("refuse-newest", "expire-oldest")
HELD_BACK_S = 0.5


class SlowConsumer(Scenario):
    """A cloud that is slower than the cameras ends in back-pressure or a counted expiry, as the policy says.

    Journals of device and edge hold 1 MiB each, about 300 frames; the cameras make 1,500 as fast as they may, while
    the cloud's replica stands still or the link to it is slow. By the policy refuse-newest the application must
    wait, by expire-oldest the oldest frames are given up and counted.
    """

    name = "slow-consumer"
    layout = Layout(edge=("--journal-max-mb", "1"))
    load = Load(frames=1500, hz=0, plan="whole", options=("--journal-max-mb", "1"))
    # A message holds so many frames at most.
    saved_most = 256

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {
            "policy": POLICIES[seed % 2],
            "how": ("paused", "slow link")[seed // 2 % 2],
            "begin s": dice.uniform(0.0, 0.5),
            "slow s": dice.uniform(6, 8),
        }

    def camera_options(self, run: SeedRun) -> tuple[str, ...]:
        return ("--journal-policy", str(run.plan["policy"]))

    async def strike(self, run: SeedRun) -> None:
        await run.sleep("begin s")
        if run.plan["how"] == "paused":
            replicas = run.world.ray_pids(REPLICA)
            if not replicas:
                raise Stuck("the cloud has no replica")
            for pid in replicas:
                os.kill(pid, signal.SIGSTOP)
            try:
                await run.sleep("slow s")
            finally:
                for pid in replicas:
                    os.kill(pid, signal.SIGCONT)
            run.fault("replica goes on")
        else:
            await run.world.bend(CLOUD_LINK, LinkCondition(up_mbps=0.1, down_mbps=0.1))
            await run.sleep("slow s")
            run.fault("link is fast again", await run.world.bend(CLOUD_LINK, GOOD))

    async def settle(self, run: SeedRun) -> None:
        waited_s = [waited for lines in run.lines().values() for waited in lines.waited_s.values()]
        run.facts["longest wait s"] = round(max(waited_s, default=0.0), 2)

    def broken(self, outcome: Outcome) -> list[str]:
        if outcome.plan["policy"] == "expire-oldest":
            return [] if outcome.books.expired else ["nothing expired, so nothing was tried"]
        said = []
        if outcome.books.expired:
            said.append(f"{outcome.books.expired} frames expired, though the policy is to refuse")
        if float(outcome.facts.get("longest wait s", 0)) < HELD_BACK_S:
            said.append("the application was never held back, so nothing was tried")
        return said
