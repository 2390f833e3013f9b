"""One seed of pipelines under faults: its runs, begun by commands, followed on the disk, and how they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import psutil

from chaos.ledger import Acknowledged, Books, FrameKey, History, Stored, settle
from chaos.outcome import Outcome
from chaos.part import Part, Stuck
from chaos.pipelines.execution_books import RunHistory, broken_books, repeats
from chaos.pipelines.run_evidence import RunEvidence, is_done, rows_of
from chaos.pipelines.shape import Shape, alike
from chaos.pipelines.trace import Execution, executions
from chaos.pipelines.world import WORKER, WORKERS, PipelineWorld
from chaos.seed import POLL_S, Seed

if TYPE_CHECKING:
    from chaos.pipelines.scenario import PipelineScenario
    from chaos.scenario import Plan
    from tercet_cloud.dag.records import RunRecord

BEGUN_S = 60.0
FLOWING_S = 30.0
BACK_S = 30.0
COMMAND_S = 60.0


class PipelineSeed(Seed):
    """Runs of pipelines whose shapes the plan's number `shape` draws.

    Attributes:
        killed: processes that were killed, or that die with what was; steps that they computed may run again.
        excused: commands that may end otherwise than they should.
    """

    scenario: PipelineScenario

    def __init__(self, world: PipelineWorld, scenario: PipelineScenario, seed: int, plan: Plan) -> None:
        super().__init__(scenario, seed, plan)
        self.world = world
        self.name = f"{scenario.name}-{seed}"
        first = int(self.number("shape"))
        self.shapes = {
            f"{self.name}-{number}": Shape.drawn(first + number) for number in range(1, scenario.runs + 1)
        }
        self.killed: set[int] = set()
        self.excused: set[str] = set()
        self._records: dict[str, RunRecord | None] = dict.fromkeys(self.shapes)
        world.state.mkdir(parents=True, exist_ok=True)
        self._evidence = RunEvidence(world.state)
        self._looking: asyncio.Task[None] | None = None

    # What scenarios use.

    def executions(self) -> list[Execution]:
        """Of all runs, in the order in which they began."""
        found = [each for run in self.shapes for each in executions(self.world.trace(run))]
        return sorted(found, key=lambda execution: execution.began_s)

    async def until_executing(self, share: float, spare: Sequence[str] = ()) -> Execution:
        """An execution that is under way, once this share of all that are planned have begun.

        Args:
            spare: keys of steps that are to be left alone.
        """
        planned = sum(sum(shape.executions().values()) for shape in self.shapes.values())
        found: list[Execution] = []

        def under_way() -> bool:
            begun = self.executions()
            found[:] = [each for each in begun if each.ended_s is None and each.key not in spare]
            return len(begun) >= share * planned and bool(found)

        await self.until(under_way, FLOWING_S, f"a step computed after {share:.0%} of all had begun")
        return found[-1]

    async def until_workers_again(self, killed: int) -> None:
        """Return once there are as many workers as there should be, without the one that was killed."""
        await self.until(
            lambda: len({*self.world.processes(WORKER)} - {killed}) == WORKERS, BACK_S, "another worker started"
        )
        self.serving_again(time.monotonic())

    def done(self, run: str) -> bool:
        """Whether it was done when it was last looked at."""
        return is_done(self._records[run])

    def look(self) -> None:
        """See how all runs stand."""
        for run in self.shapes:
            self._records[run] = self._evidence.look(run)

    # What the runner does.

    async def start(self) -> None:
        """Begin all runs; returns when the store has them, which is what makes them accepted."""
        commands = [self.world.begin(run, shape) for run, shape in self.shapes.items()]
        self._looking = asyncio.create_task(self._keep_looking())
        await self.until(
            lambda: all(self._records.values()) or any(command.exit_status for command in commands),
            BEGUN_S,
            "all runs were accepted",
        )
        for command in commands:
            if command.exit_status:
                raise Stuck(f"{command.name} ended with status {command.exit_status}: {command.last_words()}")

    async def drain(self) -> float:
        """Return when all accepted runs have ended, and every command has."""
        deadline_s = time.monotonic() + self.scenario.drain_s
        while not all(record is None or record.state.ended for record in self._records.values()):
            if time.monotonic() > deadline_s:
                states = ", ".join(
                    f"{run} is {record.state.value}" for run, record in self._records.items() if record
                )
                raise Stuck(f"not all runs ended within {self.scenario.drain_s:g} s of the faults: {states}")
            await asyncio.sleep(POLL_S)
        drained_at_s = time.monotonic()
        for run in self.shapes.keys() - self.excused:
            await self.ended_well(self.world.commands[run])
        return drained_at_s

    async def ended_well(self, command: Part) -> None:
        """Stuck unless a command ends, and says that it did what it was to do."""
        if status := await command.wait_exit(COMMAND_S):
            raise Stuck(f"{command.name} ended with status {status}: {command.last_words()}")

    def books(self) -> Books:
        """Runs are what was acknowledged, their results what is stored."""
        self.look()
        keys = {run: FrameKey(self.name, number) for number, run in enumerate(self.shapes, 1)}
        accepted = [run for run, record in self._records.items() if record is not None]
        return settle(
            History(
                offered=len(accepted),
                acknowledged=[Acknowledged(keys[run], run) for run in accepted],
                stored=[
                    Stored(keys[run], run if alike(self._result(run), self._expected(run)) else None)
                    for run in accepted
                    if self.done(run)
                ],
            )
        )

    def further(self) -> list[str]:
        said = []
        for run, record in self._records.items():
            if record is None:
                continue
            if not is_done(record):
                said.append(f"{run} is {record.state.value}: {record.reason}")
                continue
            said += broken_books(self._history(run, record))
            said += self._evidence.misplaced(record)
        ours = sorted(name for name in self._evidence.names() if name.startswith(f"{self.name}-"))
        if strangers := [name for name in ours if name not in self.shapes]:
            said.append(f"the store has runs that nobody began: {', '.join(strangers)}")
        return said

    def outcome(self, *, stuck: Sequence[str], drained_at_s: float | None) -> Outcome:
        self.facts["executions"] = len(self.executions())
        self.facts["run again"] = sum(
            sum(repeats(self._history(run, record)).values()) for run, record in self._records.items() if record
        )
        return super().outcome(stuck=stuck, drained_at_s=drained_at_s)

    async def leave(self, *, broken: bool) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for name in [name for name in self.world.commands if name.startswith(self.name)]:
            await self.world.commands.pop(name).stop()
        self._evidence.close()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(POLL_S)

    def _history(self, run: str, record: RunRecord) -> RunHistory:
        return RunHistory(
            run,
            self.shapes[run].executions(),
            executions(self.world.trace(run)),
            self._evidence.written(run),
            rows_of(record),
            self.killed,
        )

    def _result(self, run: str) -> object:
        return self._evidence.outputs(run).get("all")

    def _expected(self, run: str) -> dict[str, object]:
        return self.shapes[run].expected(self.world.store)


def still_running(family: Sequence[psutil.Process]) -> list[str]:
    """Which of these processes live, in words."""
    found = []
    for process in family:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        except psutil.Error:
            continue
    return found
