"""power-cut"""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from chaos.ledger import History, settle
from chaos.outcome import Outcome
from chaos.scenario import LoneScenario, Plan
from crash.power_cut import cut_everywhere
from crash.write_log import build_recorder, compiler

WORKLOADS = ("crash.journal_workload", "crash.store_workload")
CUTS = 120


class PowerCut(LoneScenario):
    """A power cut at any write of an outbox, a journal or a result store costs nothing that was acknowledged.

    No world: what a journal and a store write is recorded write by write, and files are laid out as a disk may have
    kept them at moments drawn by chance, with what was not synced lost, kept, torn or garbled. Needs a C compiler.
    """

    name = "power-cut"

    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        return {"cuts of each": CUTS, "journal and store seed": seed}

    def run(self, seed: int, plan: Plan) -> Outcome:
        began_s = time.monotonic()
        books = settle(History(offered=0, acknowledged=(), stored=()))
        stuck: list[str] = []
        facts: dict[str, float | int | str] = {}
        further: list[str] = []
        told = 0
        if compiler() is None:
            stuck.append("there is no C compiler (cc) on this machine to record writes with")
        else:
            with tempfile.TemporaryDirectory() as folder:
                recorder = build_recorder(Path(folder))
                for workload in WORKLOADS:
                    cut = cut_everywhere(workload, seed, recorder, most_cuts=CUTS)
                    told += cut.acknowledgements
                    further += cut.broken
                    name = workload.removeprefix("crash.").removesuffix("_workload")
                    facts |= {f"{name} cuts": cut.cuts, f"{name} syncs": cut.syncs, f"{name} writes": cut.events}
        return Outcome(
            scenario=self.name,
            seed=seed,
            plan=plan,
            # What was told counts as acknowledged; every breach is a line of its own.
            books=replace(books, offered=told, acknowledged=told),
            realtime=(),
            faults=(),
            drained_s=None,
            took_s=time.monotonic() - began_s,
            stuck=stuck,
            further=further,
            facts=facts,
        )
