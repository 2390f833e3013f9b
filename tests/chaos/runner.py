"""Runs seeds of a scenario, one after another in one world; a world that a seed left broken is replaced."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.evidence import EMPTY
from chaos.ledger import History, settle
from chaos.outcome import Outcome
from chaos.part import Stuck
from chaos.scenario import LiveScenario, LoneScenario, Promise


@dataclass(frozen=True)
class Orders:
    """What to run. `told` hears a line for every seed."""

    folder: Path
    seeds: int
    seed0: int = 0
    keep: bool = False
    told: Callable[[str], None] = print


async def run_scenario(scenario: LiveScenario | LoneScenario, orders: Orders, outcomes: list[Outcome]) -> None:
    """All seeds of one scenario. Worlds of broken seeds are kept with their logs, others removed.

    Args:
        outcomes: gets one for each seed as it is over, so that what was seen is known if this is cancelled.
    """
    seeds = range(orders.seed0, orders.seed0 + orders.seeds)
    if isinstance(scenario, LoneScenario):
        await _run_alone(scenario, seeds, orders, outcomes)
        return
    worlds = 0
    while len(outcomes) < len(seeds):
        worlds += 1
        folder = orders.folder / f"{scenario.name}-{worlds}"
        began = len(outcomes)
        try:
            async with scenario.world(folder) as world:
                for seed in seeds[began:]:
                    outcome = await run_seed(scenario, world, seed, first=not outcomes)
                    outcomes.append(outcome)
                    orders.told(_line(outcome, folder))
                    if outcome.broken:
                        break
        except* Stuck as errors:
            # The world itself did not come up, or did not come back: that seed is broken.
            if len(outcomes) == began:
                said = "; ".join(str(error) for error in _leaves(errors))
                outcomes.append(_never_ran(scenario, seeds[began], said))
                orders.told(_line(outcomes[-1], folder))
        if not orders.keep and not any(outcome.broken for outcome in outcomes[began:]):
            shutil.rmtree(folder, ignore_errors=True)


async def _run_alone(scenario: LoneScenario, seeds: Sequence[int], orders: Orders, outcomes: list[Outcome]) -> None:
    for seed in seeds:
        plan = scenario.draw(_dice(scenario, seed), seed, first=not outcomes)
        outcomes.append(await asyncio.to_thread(scenario.run, seed, plan))
        orders.told(_line(outcomes[-1], orders.folder))


def _dice(scenario: Promise, seed: int) -> random.Random:
    """By the seed alone, so that one seed can be repeated without those before it."""
    return random.Random(f"{scenario.name}/{seed}")


async def run_seed(scenario: LiveScenario, world: Any, seed: int, *, first: bool) -> Outcome:
    """One seed. What does not happen in time becomes part of the outcome."""
    run = scenario.seed(world, seed, scenario.draw(_dice(scenario, seed), seed, first=first))
    said: list[str] = []
    struck = False
    drained_at_s = None
    with _noting(said):
        await world.settled()
        await run.start()
        await scenario.strike(run)
        struck = True
    # Also after what did not happen in time: what is lost must not look like what is late.
    await run.heal()
    with _noting(said):
        drained_at_s = await run.drain()
    with _noting(said):
        await run.calm()
        if struck:
            await scenario.settle(run)
    outcome = run.outcome(stuck=said, drained_at_s=drained_at_s)
    outcome = outcome.with_further(scenario.broken(outcome))
    await run.leave(broken=bool(outcome.broken))
    return outcome


@contextmanager
def _noting(said: list[str]) -> Iterator[None]:
    """Note what did not happen in time, and go on."""
    try:
        yield
    except Stuck as error:
        said.append(str(error))
    except ExceptionGroup as errors:
        if errors.split(Stuck)[1] is not None:
            raise
        said += [str(error) for error in _leaves(errors)]


def _never_ran(scenario: LiveScenario, seed: int, said: str) -> Outcome:
    books = settle(History(offered=0, acknowledged=(), stored=(), dead=EMPTY.dead))
    return Outcome(scenario.name, seed, {}, books, (), (), None, 0.0, stuck=[said])


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _line(outcome: Outcome, folder: Path) -> str:
    books = outcome.books
    recovery = "–" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    drained = "–" if outcome.drained_s is None else f"{outcome.drained_s:.1f} s"
    head = (
        f"{time.strftime('%H:%M:%S')} {outcome.scenario} seed {outcome.seed}: {books.acknowledged} acknowledged, "
        f"{books.stored} stored, {len(books.dead)} dead; realtime {len(outcome.realtime)}, "
        f"{outcome.degraded} degraded; recovery {recovery}, drained {drained}, took {outcome.took_s:.1f} s"
    )
    if not outcome.broken:
        return head
    drawn = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in outcome.plan.items()
    )
    return "\n".join(
        [
            head,
            *(f"  BROKEN: {said}" for said in outcome.broken),
            f"  drawn: {drawn}",
            f"  logs: {folder}/logs; again: python -m chaos --scenario {outcome.scenario} --seed0 {outcome.seed} "
            "--seeds 1 --keep",
        ]
    )
