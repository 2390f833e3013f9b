"""The short part of `make chaos`: a whole running system loses nothing, whichever of its processes is killed.

Seeded; one world for all of it, because its Ray takes most of the time. At the end the store is spoilt, to show
that the books would notice.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chaos.evidence import stored_results
from chaos.ledger import broken_promises
from chaos.part import marked
from chaos.runner import run_seed
from chaos.scenario import Load, Plan, Scenario
from chaos.scenarios.kill_device import KillDevice
from chaos.scenarios.kill_edge import KillEdge
from chaos.scenarios.kill_replica import KillReplica
from chaos.seed_run import SeedRun
from chaos.world import World

SHORT = Load(frames=50, hz=25)


class ShortKillDevice(KillDevice):
    """Killed early in each of its lives, so that even a busy machine sees it before its frames are done."""

    load = Load(frames=60, hz=20)

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"first kill s": dice.uniform(0.1, 0.4), "second kill s": dice.uniform(0.0, 0.3)}


class ShortKillEdge(KillEdge):
    load = SHORT


class ShortKillReplica(KillReplica):
    load = SHORT


@pytest.mark.timeout(240)
async def test_no_acknowledged_frame_is_lost_whichever_process_is_killed(tmp_path: Path) -> None:
    scenarios: list[Scenario] = [ShortKillEdge(), ShortKillDevice(), ShortKillReplica()]
    async with World(KillReplica.layout, tmp_path) as world:
        mark = world.mark
        for seed, scenario in enumerate(scenarios):
            outcome = await run_seed(scenario, world, seed, first=False)
            assert outcome.broken == [], (scenario.name, outcome.plan)
            assert outcome.books.acknowledged >= scenario.load.frames
        await _the_books_notice_what_a_store_forgets(world)
    assert marked(mark) == []


async def _the_books_notice_what_a_store_forgets(world: World) -> None:
    """With a sound run just settled: take one result away, then exchange two, and settle again."""
    run = SeedRun(world, ShortKillEdge(), 0, {}, tag="0")
    assert broken_promises(run.books()) == []
    results = stored_results(run.store_file, run.nodes, world.album)
    one, two, three = (result.key for result in results[:3])
    with closing(sqlite3.connect(run.store_file, timeout=10)) as store, store:
        store.execute("DELETE FROM tercet_results WHERE node = ? AND sequence = ?", one)
        outputs = dict(store.execute("SELECT sequence, outputs FROM tercet_results WHERE node = ?", (one.node,)))
        for key, other in ((two, three), (three, two)):
            store.execute(
                "UPDATE tercet_results SET outputs = ? WHERE node = ? AND sequence = ?",
                (outputs[other.sequence], *key),
            )
    books = run.books()
    assert books.lost == (one,)
    assert set(books.wrong) == {two, three}
