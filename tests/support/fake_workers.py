"""Workers without Ray, whose calls end when a test says so: for what a pool does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tercet_cloud.dag.baton import Standing
from tercet_cloud.dag.call import Circumstances, Report
from tercet_cloud.dag.outcomes import WHOLE, Task
from tercet_cloud.dag.pool import Arrival, Dispatch, WorkerPool, name_of


@dataclass
class Done:
    """What Ray's future of a message gives."""

    reports: list[Report] | None = None
    error: Exception | None = None

    def exception(self) -> Exception | None:
        return self.error

    def result(self) -> list[Report] | None:
        return self.reports


@dataclass
class FakeWorker:
    """A handle.

    Attributes:
        messages: names of the calls of each, in order, and what to call when it ends.
        standings: what it answers for calls by name; others were dropped. None: it does not answer.
        dropped: names it was asked to drop.
    """

    messages: list[tuple[list[str], Callable[[Done], None]]] = field(default_factory=list)
    standings: dict[str, Standing | None] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    up: bool = True
    killed: bool = False

    @property
    def ready(self) -> _Method:
        return _Method(lambda options: _answer(True) if self.up else asyncio.Future())

    @property
    def drop(self) -> _Method:
        def drop(options: dict[str, Any], name: str) -> asyncio.Future[Any]:
            self.dropped.append(name)
            standing = self.standings.get(name, Standing("dropped"))
            return asyncio.Future() if standing is None else _answer(standing)

        return _Method(drop)

    @property
    def run(self) -> _Method:
        def run(options: dict[str, Any], orders: list[Any], *values: Any) -> list[Any]:
            names = [Circumstances(*circumstances).name for _, circumstances, _, _ in orders]
            return [_Reports(self, names), *(["value"] * (options["num_returns"] - 1))]

        return _Method(run)

    @property
    def names(self) -> list[list[str]]:
        return [names for names, _ in self.messages]

    async def end(self, *names: str, error: Exception | None = None) -> None:
        """The message of these calls ends, all well or with an error."""
        message = next(message for message in self.messages if message[0] == list(names))
        self.messages.remove(message)
        message[1](Done(None, error) if error else Done([Report("done", 0.0) for _ in names]))
        await settled()


@dataclass
class _Method:
    call: Callable[..., Any]
    given: dict[str, Any] = field(default_factory=dict)

    def options(self, **options: Any) -> _Method:
        return _Method(self.call, options)

    def remote(self, *arguments: Any) -> Any:
        return self.call(self.given, *arguments)


@dataclass
class _Reports:
    worker: FakeWorker
    names: list[str]

    def future(self) -> _Reports:
        return self

    def add_done_callback(self, callback: Callable[[Done], None]) -> None:
        self.worker.messages.append((self.names, callback))


def _answer(value: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


async def settled() -> None:
    """Whatever is due in the loop has happened."""
    for _ in range(10):
        await asyncio.sleep(0)


@dataclass
class PoolAtHand:
    """A pool of fake workers, and what it told."""

    pool: WorkerPool
    workers: list[FakeWorker]
    arrived: list[Arrival] = field(default_factory=list)
    again: dict[str, float] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    @classmethod
    async def of(cls, size: int, *, up: bool = True, beside: bool = False) -> PoolAtHand:
        workers: list[FakeWorker] = []

        def make() -> FakeWorker:
            # Those that take a lost one's place come up when the test says so.
            workers.append(FakeWorker(up=up and len(workers) < size))
            return workers[-1]

        arrived: list[Arrival] = []
        again: dict[str, float] = {}
        sizes: list[int] = []
        pool = WorkerPool(
            size,
            make,
            arrived=arrived.append,
            look_again=lambda task, at_s: again.update({task.run: at_s}),
            resized=sizes.append,
            beside=beside,
        )
        pool.begin()
        await settled()
        return cls(pool, workers, arrived, again, sizes)

    def give(self, *runs: str, short: bool = True, timeout_s: float | None = None, rank: float = 0.0) -> None:
        """Dispatch calls, in one message."""
        self.pool.dispatch([call(run, short=short, timeout_s=timeout_s, rank=rank) for run in runs])

    def outcomes(self) -> dict[str, Any]:
        """What arrived, by run: what came instead of a report, or its state."""
        return {one.task.run: one.instead or (one.report and one.report.state) for one in self.arrived}


def task(run: str) -> Task:
    return Task(run, 0, WHOLE, 1)


def call(run: str, *, short: bool = True, timeout_s: float | None = None, rank: float = 0.0) -> Dispatch:
    circumstances = Circumstances(run, WHOLE, 1, (), rank, timeout_s, name_of(task(run)))
    return Dispatch(task(run), b"", circumstances, (), keeps=False, timeout_s=timeout_s, short=short)
