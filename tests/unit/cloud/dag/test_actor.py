"""A scheduler starts by itself, also when Ray has started it anew, and knows the runs it has taken over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tercet.errors import NotFoundError, UnavailableError
from tercet_cloud.dag import actor as actor_module
from tercet_cloud.dag.actor import SchedulerActor, Setup
from tercet_cloud.dag.call import Means
from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.run_journal import RunJournal
from tercet_cloud.dag.run_lease import Lease
from tercet_cloud.dag.spec import Pipeline


class _View:
    """Of a run that is under way."""

    state = RunState.RUNNING


class _Engine:
    """An engine that runs nothing.

    Attributes:
        fails: so many of the next starts fail.
        up: set when one has started.
    """

    fails = 0
    up: asyncio.Event

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.views: dict[str, _View] = {}

    async def start(self) -> None:
        await asyncio.sleep(0)
        if _Engine.fails:
            _Engine.fails -= 1
            raise UnavailableError("no worker came up")
        _Engine.up.set()

    def close(self) -> None:
        pass

    def view_of(self, run: str) -> _View | None:
        return self.views.get(run)

    def cancel(self, run: str, node: str | None = None) -> None:
        raise NotFoundError(f"there is no run {run} under way")

    forget = cancel


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_module, "Engine", _Engine)
    monkeypatch.setattr(actor_module, "_RESTART_FIRST_S", 0.001)
    monkeypatch.setattr(actor_module, "BEAT_S", 0.001)
    _Engine.fails, _Engine.up = 0, asyncio.Event()


SETUP = Setup(2, Means(Path("store")))


async def test_a_scheduler_that_nobody_calls_starts_by_itself_and_tries_until_it_does() -> None:
    _Engine.fails = 3
    of = SchedulerActor(SETUP)
    async with asyncio.timeout(10):
        await _Engine.up.wait()
        assert await of.ready() == 2


async def test_a_start_that_failed_is_told_to_who_waits_and_not_to_the_next() -> None:
    _Engine.fails = 1
    of = SchedulerActor(SETUP)
    with pytest.raises(UnavailableError, match="no worker"):
        await of.ready()
    assert await of.ready() == 2


async def test_calls_that_come_before_it_has_started_wait_for_that() -> None:
    for call in (lambda of: of.cancel("r"), lambda of: of.forget("r")):
        with pytest.raises(NotFoundError, match="no run r"):
            await call(SchedulerActor(SETUP))


async def test_a_run_that_this_scheduler_works_on_or_takes_over_meanwhile_is_resumed_already() -> None:
    of = SchedulerActor(SETUP)
    await of.ready()
    # Somebody's beat goes on as long as anybody looks: nothing is ever free to be claimed.
    beats = iter(range(10**9))

    async def claim(watch: Any, run: str | None) -> list[Any]:
        return list(watch.free([Lease(run or "", "scheduler", next(beats))], 0.0))

    of._journal = journal = RunJournal.__new__(RunJournal)
    journal._open = set()
    of._room = lambda: 1  # type: ignore[method-assign]
    of._claim = claim  # type: ignore[method-assign]
    engine: Any = of._engine
    engine.views["held"] = _View()
    async with asyncio.timeout(10):
        await of.resume("held")
        resuming = asyncio.create_task(of.resume("other"))
        await asyncio.sleep(0.01)
        assert not resuming.done()
        engine.views["other"] = _View()
        await resuming


async def test_pipelines_that_were_not_used_for_long_are_to_be_prepared_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actor_module, "_PREPARED", 2)
    of = SchedulerActor(SETUP)
    pipeline = Pipeline(name="p").node("n", call="os:getpid")
    for key in ("a", "b", "a", "c"):
        await of.prepare(key, pipeline)
    assert list(of._prepared) == ["a", "c"]
    with pytest.raises(NotFoundError, match="not prepared"):
        await of.submit("r", "b", ())
