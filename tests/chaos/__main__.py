"""The chaos suite: faults under traffic, and whether any promise was broken.

    python -m chaos --seeds 10                       everything
    python -m chaos --scenario kill-edge --seed0 7   one seed of one scenario and those after it

Exit status 1 if a promise was broken. A seed fixes the schedule of faults exactly, and what real processes make of
it nearly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaos.outcome import Outcome, Row, table
from chaos.runner import Orders, run_scenario
from chaos.scenario import LiveScenario, LoneScenario
from chaos.scenarios import SCENARIOS, describe_machine

_INTERRUPTED = 130


def main() -> int:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each scenario")
    parser.add_argument("--seed0", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at once, each in a world of its own")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--keep", action="store_true", help="keep all folders, not only those of broken promises")
    parser.add_argument("--list", action="store_true", help="name the scenarios and what each promises")
    given = parser.parse_args()
    if given.list:
        width = max(map(len, names))
        print("\n".join(f"{scenario.name:<{width}}  {scenario.promise()}" for scenario in SCENARIOS))
        return 0
    chosen = [scenario for scenario in SCENARIOS if not given.scenario or scenario.name in given.scenario]
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    orders = Orders(folder, given.seeds, given.seed0, given.keep, _say)
    began_s = time.monotonic()
    outcomes: dict[str, list[Outcome]] = {kind.name: [] for kind in chosen}
    finished = True
    try:
        asyncio.run(_interruptible(_run_all(chosen, orders, given.jobs, outcomes)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        finished = False
    rows = [
        Row.of(scenario.name, scenario.promise(), outcomes[scenario.name])
        for scenario in chosen
        if outcomes[scenario.name]
    ]
    broken = any(row.broken for row in rows)
    if given.json:
        print(json.dumps(_as_json(rows, outcomes), indent=1))
    else:
        print(f"\n{table(rows)}\n\n{describe_machine()} Took {(time.monotonic() - began_s) / 60:.1f} min.")
    if not broken and not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    if not finished:
        print("Interrupted: not everything was tried.")
        return _INTERRUPTED
    return 1 if broken else 0


async def _run_all(
    chosen: list[type[LiveScenario] | type[LoneScenario]],
    orders: Orders,
    jobs: int,
    outcomes: dict[str, list[Outcome]],
) -> None:
    free = asyncio.Semaphore(jobs)

    async def run(kind: type[LiveScenario] | type[LoneScenario]) -> None:
        async with free:
            await run_scenario(kind(), orders, outcomes[kind.name])

    async with asyncio.TaskGroup() as tasks:
        for kind in chosen:
            tasks.create_task(run(kind))


async def _interruptible(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM ends it as Ctrl-C does: worlds are taken down."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


def _as_json(rows: list[Row], outcomes: dict[str, list[Outcome]]) -> dict[str, object]:
    return {
        "machine": describe_machine(),
        "scenarios": [
            asdict(row)
            | {
                "outcomes": [
                    {
                        "seed": outcome.seed,
                        "plan": dict(outcome.plan),
                        "broken": outcome.broken,
                        "recovery_s": outcome.recovery_s,
                        "drained_s": outcome.drained_s,
                        "took_s": outcome.took_s,
                        "unheard": len(outcome.books.unheard),
                        "facts": outcome.facts,
                    }
                    for outcome in outcomes[row.name]
                ]
            }
            for row in rows
        ],
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # Ray's libraries leave threads that would hold the interpreter's end.
    status = main()
    sys.stdout.flush()
    os._exit(status)
