"""A scheduler in this process, without Ray: a keeper in threads, and workers whose calls a test ends by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tercet.errors import UnavailableError
from tercet_cloud.dag.actor import SchedulerActor, Setup
from tercet_cloud.dag.call import Means, Report
from tercet_cloud.dag.outcomes import Task
from tercet_cloud.dag.pool import Arrival, Dispatch, Landing
from tercet_cloud.dag.run_keeper import RunKeeper
from tercet_cloud.dag.run_store import state_url
from tercet_cloud.dag.step_runner import to_bytes


class HandWorkers:
    """In place of `Pools`: calls wait in `calls` until `end`."""

    def __init__(self, workers: int, gpus: int, values: Path | None, **heard: Callable[..., None]) -> None:
        self._workers, self._heard = workers, heard
        self.calls: dict[Task, Dispatch] = {}

    async def start(self) -> None:
        self._heard["resized"](self._workers)

    def close(self) -> None:
        pass

    def stop(self, task: Task) -> None:
        self.calls.pop(task, None)

    def check(self, task: Task) -> None:
        pass

    def forget(self, run: str) -> None:
        pass

    def send(self, calls: Sequence[tuple[Dispatch, object, float | None]]) -> None:
        self.calls.update({call.task: call for call, _, _ in calls})

    def end(self, task: Task, value: Any = 1, **facts: Any) -> None:
        """A call has come back; `facts` are of its report."""
        del self.calls[task]
        kept = to_bytes(value)
        report = Report(**{"state": "done", "took_s": 0.0, "kept_bytes": len(kept), **facts})
        self._heard["arrived"](Arrival(task, Landing(value, kept), report, None))


class HandKeeper:
    """In place of the keeper's actor.

    Attributes:
        before: called with the name and arguments of each call; it may raise.
        away: nothing can be written now.
    """

    def __init__(self, keeper: RunKeeper) -> None:
        self._keeper = keeper
        self.before: Callable[[str, tuple[Any, ...]], None] = lambda name, arguments: None
        self.away = False

    def __getattr__(self, name: str) -> Any:
        return _Method(self, name)

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        self.before(name, arguments)
        if self.away and name == "write":
            raise UnavailableError("away")
        return getattr(self._keeper, name)(*arguments)


class _Method:
    def __init__(self, keeper: HandKeeper, name: str) -> None:
        self._keeper, self._name = keeper, name

    def remote(self, *arguments: Any) -> Any:
        return asyncio.to_thread(self._keeper.call, self._name, arguments)


class HandScheduler(SchedulerActor):
    """The actor's class as it is, over `HandWorkers` and a `HandKeeper`."""

    @property
    def workers(self) -> HandWorkers:
        workers = self._engine._pools
        assert isinstance(workers, HandWorkers)
        return workers

    @property
    def keeper(self) -> HandKeeper:
        assert isinstance(self._keeper, HandKeeper)
        return self._keeper

    async def call(self, run: str | None = None) -> Task:
        """The next call, of a run, that waits."""
        async with asyncio.timeout(10):
            while True:
                for task in self.workers.calls:
                    if run in (None, task.run):
                        return task
                await asyncio.sleep(0.01)


async def hand_scheduler(monkeypatch: pytest.MonkeyPatch, state: Path, **setup: Any) -> HandScheduler:
    """Started. Stop it at the end."""
    monkeypatch.setattr("tercet_cloud.dag.engine.Pools", HandWorkers)
    monkeypatch.setattr(
        "tercet_cloud.dag.actor.new_keeper",
        lambda url, folder, owner: HandKeeper(RunKeeper(url, folder, owner)),
    )
    means = Means(state / "store")
    scheduler = HandScheduler(Setup(2, means, state_url(state), state / "values", **setup))
    await scheduler.ready()
    return scheduler
