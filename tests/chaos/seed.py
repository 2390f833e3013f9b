"""One seed of one scenario under way: what was drawn, what was done to the system, and what was measured."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from chaos.outcome import CROWDING, Fault, Outcome
from chaos.part import Stuck, crowding
from chaos.service_gap import RealtimeFrame

if TYPE_CHECKING:
    from chaos.ledger import Books
    from chaos.scenario import LiveScenario, Plan

POLL_S = 0.1


class Seed(ABC):
    """Made by the runner; scenarios strike through it. Subclasses know the traffic, and keep its books.

    Attributes:
        plan: what `draw` drew.
        facts: for what a scenario measures.
    """

    def __init__(self, scenario: LiveScenario, seed: int, plan: Plan) -> None:
        self.scenario = scenario
        self.seed = seed
        self.plan = plan
        self.faults: list[Fault] = []
        self.facts: dict[str, float | int | str] = {}
        self.serving_again_s: float | None = None
        self._crowding = crowding()
        self.began_s = time.monotonic()

    # What scenarios use.

    def fault(self, what: str, at_s: float | None = None) -> None:
        """Note that something bad was done, or ended."""
        self.faults.append(Fault(what, time.monotonic() if at_s is None else at_s))

    def serving_again(self, at_s: float) -> None:
        """Note that what the last fault hit serves again; the longest time counts."""
        self.serving_again_s = max(self.serving_again_s or 0.0, at_s - self.faults[-1].at_s)

    def number(self, name: str) -> float:
        """A number of the plan."""
        value = self.plan[name]
        assert not isinstance(value, str)
        return float(value)

    async def sleep(self, name: str) -> None:
        """As long as the plan's number of this name, in seconds."""
        await asyncio.sleep(self.number(name))

    async def sleep_until(self, at_s: float) -> None:
        """Until a moment of the monotonic clock; not at all if it has passed."""
        await asyncio.sleep(max(0.0, at_s - time.monotonic()))

    async def until(self, holds: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Return once something holds; Stuck with `what` was waited for."""
        deadline_s = time.monotonic() + timeout_s
        while not await asyncio.to_thread(holds):
            if time.monotonic() > deadline_s:
                raise Stuck(f"waited {timeout_s:g} s in vain until {what}")
            await asyncio.sleep(POLL_S)

    def kill(self, pid: int) -> None:
        """SIGKILL to a process of the world."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    # What the runner does.

    @abstractmethod
    async def start(self) -> None:
        """Start the traffic; returns when it flows."""

    async def heal(self) -> None:  # noqa: B027
        """End all faults, also after something did not happen in time."""

    @abstractmethod
    async def drain(self) -> float:
        """Return when everything that was accepted has come to its end; Stuck if that takes too long."""

    async def calm(self) -> None:  # noqa: B027
        """Return once the system does again what it did before; Stuck if it does not."""

    @abstractmethod
    def books(self) -> Books:
        """The books as they stand."""

    def further(self) -> list[str]:
        """What was broken besides, in words."""
        return []

    def realtime(self, from_s: float | None = None) -> list[RealtimeFrame]:
        """Realtime frames of this seed, or from a moment on; there are none where nobody sends any."""
        return []

    @abstractmethod
    async def leave(self, *, broken: bool) -> None:
        """End what only this seed needs; what it left on the disk stays if it was broken."""

    def outcome(self, *, stuck: Sequence[str], drained_at_s: float | None) -> Outcome:
        last_s = max((fault.at_s for fault in self.faults), default=self.began_s)
        self.facts[CROWDING] = round(max(self._crowding, crowding()), 2)
        return Outcome(
            scenario=self.scenario.name,
            seed=self.seed,
            plan=self.plan,
            books=self.books(),
            realtime=self.realtime(),
            faults=self.faults,
            drained_s=None if drained_at_s is None else max(0.0, drained_at_s - last_s),
            took_s=time.monotonic() - self.began_s,
            stuck=stuck,
            serving_again_s=self.serving_again_s,
            further=self.further(),
            facts=self.facts,
        )
