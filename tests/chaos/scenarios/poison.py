"""poison"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from chaos.ledger import FrameKey
from chaos.model import FAILS_AT_EDGE, FAILS_IN_CLOUD, KILLS_CLOUD, KILLS_EDGE, draw_poison
from chaos.outcome import Outcome
from chaos.part import Stuck
from chaos.scenario import Load, Plan, Scenario
from chaos.seed_run import SeedRun

COLOURS = {
    "fails at the edge": FAILS_AT_EDGE,
    "fails in the cloud": FAILS_IN_CLOUD,
    "kills the edge": KILLS_EDGE,
    "kills the cloud": KILLS_CLOUD,
}
KINDS = tuple(COLOURS)
COMMAND_S = 30.0
_FRAMES = 120


class Poison(Scenario):
    """A frame that always fails, or kills the process, ends among the dead letters and blocks no other.

    Two poisonous photos among 120 fail in the edge's or the cloud's segment, or kill the process that computes
    them. Exactly they must be listed by `tercet dlq list`, and every other frame stored.
    """

    name = "poison"
    load = Load(frames=_FRAMES, hz=20)
    drain_s = 120.0

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        one, two = sorted(dice.sample(range(10, _FRAMES - 10), 2))
        return {"kind": KINDS[seed % len(KINDS)], "one": one, "two": two}

    def photos(self, run: SeedRun) -> Path:
        """Links to photos of the world, and the poison in its places."""
        folder = run.world.folder / "poisoned" / str(run.seed)
        folder.mkdir(parents=True, exist_ok=True)
        poison = draw_poison(folder.parent / f"{run.seed}.png", COLOURS[str(run.plan["kind"])])
        sound = iter(sorted(run.world.photos.iterdir()))
        for place in range(_FRAMES):
            target = poison if place in (run.plan["one"], run.plan["two"]) else next(sound)
            (folder / f"{place:05}.png").symlink_to(target)
        return folder

    async def strike(self, run: SeedRun) -> None:
        run.fault("poison under way")
        # Until all is recorded; the rest is draining.
        await run.until(
            lambda: sum(lines.offered for lines in run.lines().values()) >= _FRAMES, 60, "every frame was recorded"
        )
        await asyncio.sleep(0.5)

    async def settle(self, run: SeedRun) -> None:
        """What `tercet dlq list` says, of device, edge and cloud together."""
        state = run.world.state(run.world.edge.name).parent
        listed = [*await list_dead(state), *await list_dead(run.world.state(run.nodes[0]).parent)]
        poisonous = {
            entry.key
            for lines in run.lines().values()
            for entry in lines.acknowledged
            if Path(entry.source).parent.name == "poisoned"
        }
        mine = [key for key in listed if key.node in run.nodes]
        run.facts["poisonous"] = len(poisonous)
        run.facts["listed"] = len(set(mine) & poisonous)
        run.facts["sound among the dead"] = len(set(mine) - poisonous)

    def broken(self, outcome: Outcome) -> list[str]:
        facts = outcome.facts
        said = []
        if facts.get("listed") != 2 or facts.get("poisonous") != 2:
            said.append(f"2 poisonous frames, but `tercet dlq list` shows {facts.get('listed')}")
        if facts.get("sound among the dead"):
            said.append(f"{facts['sound among the dead']} sound frames are among the dead letters")
        return said


async def list_dead(state: Path) -> list[FrameKey]:
    """What `tercet dlq list --json` shows of the nodes whose state lies in a folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tercet.cli", "dlq", "list", "--json", "--state", str(state)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(COMMAND_S):
        out, complaint = await process.communicate()
    if process.returncode:
        raise Stuck(f"tercet dlq list --state {state} ended with {process.returncode}: {complaint.decode()[-200:]}")
    return [FrameKey(entry["node"], entry["sequence"]) for entry in json.loads(out)]
