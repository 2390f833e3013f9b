"""What a scenario is: a promise, the world it needs, the traffic, the faults, and what must be true besides."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chaos.seed_run import SeedRun
from chaos.world import Layout, World

if TYPE_CHECKING:
    from chaos.outcome import Outcome
    from chaos.seed import Seed

# What a seed draws: numbers and names of what to do when. Printed with a failure.
Plan = Mapping[str, float | int | str | bool]


@dataclass(frozen=True)
class Load:
    """Durable traffic of one seed.

    Args:
        frames: of each device.
        hz: frames a second of each device; 0: as fast as they are acknowledged.
        devices: how many.
        plan: of the deployment; "whole" leaves everything to edge and cloud, so that frames are larger.
        options: more of `tercet device run`.
    """

    frames: int = 160
    hz: float = 20.0
    devices: int = 1
    plan: str = "split"
    options: tuple[str, ...] = ()


class Promise(ABC):
    """What is proved. The first line of a subclass's docstring states it; `--scenario` takes `name`."""

    name: ClassVar[str]

    @abstractmethod
    def draw(self, dice: random.Random, seed: int, *, first: bool) -> Plan:
        """What to do in this seed. `first`: of the run, which may take longer."""

    @classmethod
    def promise(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0]


class LoneScenario(Promise):
    """One that needs no running system."""

    @abstractmethod
    def run(self, seed: int, plan: Plan) -> Outcome:
        """One seed; blocks."""


class LiveScenario(Promise):
    """One in a running system, which serves many seeds.

    A seed is: traffic starts; `strike` inflicts what `draw` drew and heals it; all that was accepted comes to its
    end; the books are settled. Every seed is repeatable in its schedule, not in what real processes make of it.
    """

    @abstractmethod
    def world(self, folder: Path) -> Any:
        """The running system, an async context manager that can say when it is `settled`."""

    @abstractmethod
    def seed(self, world: Any, seed: int, plan: Plan) -> Seed:
        """One seed, its traffic not yet started."""

    @abstractmethod
    async def strike(self, run: Any) -> None:
        """Do and heal it. `run.fault` notes each fault's moment. Raises Stuck for what does not happen in time."""

    async def settle(self, run: Any) -> None:
        """Note further facts when everything is drained."""

    def broken(self, outcome: Outcome) -> list[str]:
        """Further promises that an outcome broke, in words."""
        return []


class Scenario(LiveScenario):
    """One of frames, from devices to the cloud."""

    layout: ClassVar[Layout] = Layout()
    load: ClassVar[Load] = Load()
    # Realtime frames a second beside the durable ones; 0: none.
    realtime_hz: ClassVar[float] = 10.0
    # From the end of the faults until every frame is stored.
    drain_s: ClassVar[float] = 120.0
    # Frames on a device's way to its application when it is killed, which nobody was told of.
    unheard_most: ClassVar[int] = 0
    # Frames that a holder may give up although the next one has them: of a message whose receipt is under way.
    saved_most: ClassVar[int] = 0
    # Whether frames may be stored after younger ones, if the store says so: only where they change edges.
    late_allowed: ClassVar[bool] = False

    def camera_options(self, run: SeedRun) -> tuple[str, ...]:
        """More of `tercet device run`, in this seed."""
        return ()

    def photos(self, run: SeedRun) -> Path:
        """The folder of what cameras send, in this seed."""
        return run.world.photos

    def world(self, folder: Path) -> World:
        return World(self.layout, folder)

    def seed(self, world: World, seed: int, plan: Plan) -> SeedRun:
        return SeedRun(world, self, seed, plan, tag=str(seed))
