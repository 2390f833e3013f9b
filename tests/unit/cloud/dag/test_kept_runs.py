"""What a scheduler keeps of its runs: nothing of those it refuses, all of those it took, in trouble too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ObjectLostError, OwnerDiedError, RayTaskError

from support.schedulers import HandScheduler, hand_scheduler
from tercet.errors import OverloadedError, SpecError, UnavailableError
from tercet_cloud.dag import run_journal
from tercet_cloud.dag.events.bus import EventBus
from tercet_cloud.dag.events.rules import Rule, Rules
from tercet_cloud.dag.events.runner import EventRunner, Reaction
from tercet_cloud.dag.outcomes import NodeState, RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.run_store import Batch, RunStore, state_url
from tercet_cloud.dag.schedule import Limits
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.dag.step_runner import to_bytes

ONE = Pipeline(name="one").node("n", call="builtins:int")
TWO = Pipeline(name="two").node("n", call="builtins:int").node("behind", call="builtins:int", needs={"x": "n"})
LARGE = Pipeline(name="large").node("n", call="builtins:int", resources={"cpus": 64})
WAIT_S = 20.0

Start = Callable[..., Awaitable[HandScheduler]]


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts schedulers on one store; they are stopped at the end."""
    monkeypatch.setattr("tercet_cloud.dag.actor.BEAT_S", 0.05)
    monkeypatch.setattr("tercet_cloud.dag.run_journal.BEAT_S", 0.05)
    monkeypatch.setattr("tercet_cloud.dag.run_journal._RETRY_S", 0.01)
    started = []

    async def begin(**setup: Any) -> HandScheduler:
        scheduler = await hand_scheduler(monkeypatch, tmp_path, **setup)
        started.append(scheduler)
        for pipeline in (ONE, TWO, LARGE):
            await scheduler.prepare(pipeline.name, pipeline)
        return scheduler

    yield begin
    for scheduler in started:
        scheduler.keeper.before = lambda name, arguments: None
        await scheduler.stop()
        if scheduler._setup.adopts:
            scheduler._adopting.cancel()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    held = RunStore(state_url(tmp_path), tmp_path / "values")
    yield held
    held.close()


def kept(store: RunStore) -> dict[str, RunState]:
    return {record.run: record.state for record in store.list(None)}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def add(store: RunStore, pipeline: Pipeline, run: str = "r", **facts: Any) -> None:
    """A run that nobody works on."""
    row = {"run": run, "pipeline": pipeline.name, "spec": pipeline.model_dump_json(), "state": "queued"}
    store.add({**row, "submitted_s": 1.0, **facts}, [], "")


async def test_of_a_run_that_is_refused_nothing_is_kept(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False, limits=Limits(active_runs=1, queued_runs=1))
    with pytest.raises(SpecError, match="node n needs"):
        await scheduler.submit("large", "large", ())
    answers = await asyncio.gather(
        *(scheduler.submit(f"r{number}", "one", ()) for number in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers if answer] == [OverloadedError] * 4
    assert len(kept(store)) == 1
    with pytest.raises(SpecError, match="a run r0 already"):
        await scheduler.submit("r0", "one", ())


async def test_a_change_that_has_to_wait_for_room_leaves_one_run(start: Start, store: RunStore) -> None:
    """The runner asks again and again; each try that is refused is forgotten."""
    scheduler = await start(adopts=False, limits=Limits(active_runs=1, queued_runs=1))
    for run in ("first", "second"):
        await scheduler.submit(run, "one", ())
    tries: list[str] = []

    class Runs:
        async def run(self, pipeline: Pipeline, inputs: object = None, *, priority: int | None = None) -> RunRecord:
            tries.append(f"event-{len(tries)}")
            try:
                return await scheduler.run(tries[-1], "one", ())
            except OverloadedError as error:
                raise OverloadedError(str(error), retry_after_s=0.01) from error

    bus, seen, path = EventBus(), list[Reaction](), Path("one.yaml")
    rules = Rules(rules=(Rule(key="k", pipeline=path),))
    async with asyncio.timeout(WAIT_S), EventRunner(Runs(), bus, rules, {path: ONE}, seen.append).running():
        bus.publish("k", 1)
        await until(lambda: len(tries) > 5)
        assert sorted(kept(store)) == ["first", "second"]
        while not seen:
            for task in list(scheduler.workers.calls):
                scheduler.workers.end(task)
            await asyncio.sleep(0.02)
    assert len(kept(store)) == 3


async def test_a_run_that_was_taken_over_and_is_refused_has_failed_with_the_reason(
    start: Start, store: RunStore
) -> None:
    add(store, LARGE)
    scheduler = await start()
    await until(lambda: kept(store)["r"] is RunState.FAILED)
    record = store.record("r")
    assert "needs 64 CPUs" in record.reason
    assert not scheduler._journal.holds("r")  # type: ignore[attr-defined]
    scheduler._adopting.cancel()
    store.reopen("r")
    with pytest.raises(SpecError, match="cannot go on: node n needs"):
        await (await start(adopts=False)).resume("r")


async def test_no_more_runs_are_taken_over_than_there_is_room_for(start: Start, store: RunStore) -> None:
    for number in range(4):
        add(store, ONE, f"r{number}")
    scheduler = await start(limits=Limits(active_runs=1, queued_runs=1))
    for _ in range(4):
        scheduler.workers.end(await scheduler.call())
    await until(lambda: set(kept(store).values()) == {RunState.DONE})


async def test_what_cannot_be_written_fails_its_run_and_no_other(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False)

    def refuse(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "write" and any(row["run"] == "bad" for row in arguments[0].values):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    scheduler.keeper.before = refuse
    for run in ("bad", "good"):
        await scheduler.submit(run, "two", ())
    # Both results are in one batch.
    for task in [await scheduler.call(run) for run in ("bad", "good")]:
        scheduler.workers.end(task)
    await until(lambda: kept(store)["bad"] is RunState.FAILED)
    scheduler.workers.end(await scheduler.call("good"))
    assert (await scheduler.wait("good", WAIT_S)).state is RunState.DONE
    assert kept(store)["good"] is RunState.DONE
    assert (store.value("good", "n"), store.value("good", "behind")) == (to_bytes(1), to_bytes(1))
    bad = await scheduler.wait("bad", WAIT_S)
    assert bad.state is RunState.FAILED
    assert bad.reason == store.record("bad").reason
    assert "it cannot be kept: 'utf-8' codec" in bad.reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no such bytes"), "no such bytes"),
        (ObjectLostError("00" * 28, None, ""), "a result was lost with who held it"),
        (RayTaskError("write", "trace", OwnerDiedError("00" * 28, None, "")), "a result was lost with who held it"),
    ],
)
async def test_a_run_whose_last_result_cannot_be_written_is_not_done(
    start: Start, store: RunStore, error: Exception, words: str
) -> None:
    scheduler = await start(adopts=False)

    def refuse(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "write" and arguments[0].values:
            raise error

    scheduler.keeper.before = refuse
    await scheduler.submit("r", "one", ())
    scheduler.workers.end(await scheduler.call())
    record = await scheduler.wait("r", WAIT_S)
    assert (record.state, record.reason) == (RunState.FAILED, f"it cannot be kept: {words}")
    assert kept(store)["r"] is RunState.FAILED


async def test_what_may_pass_is_written_in_the_end(start: Start, store: RunStore) -> None:
    scheduler, failures = await start(adopts=False), [UnavailableError("away"), TimeoutError()]

    def away(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "write" and failures:
            raise failures.pop()

    scheduler.keeper.before = away
    await scheduler.submit("r", "one", ())
    scheduler.workers.end(await scheduler.call())
    assert (await scheduler.wait("r", WAIT_S)).state is RunState.DONE
    assert (failures, kept(store)["r"]) == ([], RunState.DONE)


async def test_whatever_a_step_prints_can_be_kept(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False)
    await scheduler.submit("r", "one", ())
    scheduler.workers.end(await scheduler.call(), log="a\ud800b\x00c\td\n")
    await scheduler.wait("r", WAIT_S)
    assert store.record("r").nodes[0].log == "a\\ud800b\\x00c   d\n"


async def test_who_waits_waits_for_what_was_told_and_not_for_silence(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False)
    await scheduler.submit("r", "one", ())
    journal = scheduler._journal
    assert isinstance(journal, run_journal.RunJournal)
    telling = True

    async def tell() -> None:
        while telling:
            journal.value("r", "n", 0, b"more", "", 4)
            await asyncio.sleep(0)

    talker = asyncio.create_task(tell())
    try:
        await asyncio.wait_for(journal.flushed(), WAIT_S)
        assert not talker.done()
    finally:
        telling = False
        await talker


async def test_nothing_starts_while_too_much_waits_to_be_written(
    start: Start, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_journal, "MAX_WAITING_BYTES", 100_000)
    scheduler = await start(adopts=False)
    scheduler.keeper.away = True
    await scheduler.submit("r", "two", ())
    scheduler.workers.end(await scheduler.call(), value=b"large" * 50_000)
    await asyncio.sleep(0.2)
    assert not scheduler.workers.calls
    scheduler.keeper.away = False
    scheduler.workers.end(await scheduler.call())
    assert (await scheduler.wait("r", WAIT_S)).state is RunState.DONE


async def test_a_run_beats_until_its_end_is_written(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False)
    await scheduler.submit("r", "one", ())
    task = await scheduler.call()
    scheduler.keeper.away = True
    scheduler.workers.end(task)
    await asyncio.sleep(0.1)
    beat = store.leases("r")[0].beat
    await until(lambda: store.leases("r")[0].beat > beat)
    scheduler.keeper.away = False
    await scheduler.wait("r", WAIT_S)
    assert store.leases("r") == []


async def test_a_run_that_another_scheduler_took_says_so(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False)
    await scheduler.submit("r", "one", ())
    await scheduler.call()
    assert len(store.claim(store.leases("r"), "other")) == 1
    record = await scheduler.wait("r", WAIT_S)
    assert (record.state, record.reason) == (RunState.CANCELLED, "another scheduler has taken it over")
    assert kept(store)["r"] is RunState.RUNNING
    assert store.leases("r")[0].owner == "other"


async def test_a_scheduler_goes_on_with_what_it_took_and_never_heard_of(start: Start, store: RunStore) -> None:
    """Its keeper died after it had taken the run over, before it could say so."""
    scheduler = await start(adopts=False)
    add(store, ONE)
    store.claim(store.leases("r"), scheduler._owner)
    store.release(scheduler._owner)
    await scheduler.resume("r")
    await scheduler.resume("r")
    scheduler.workers.end(await scheduler.call())
    assert (await scheduler.wait("r", WAIT_S)).state is RunState.DONE


async def test_a_wish_for_a_node_is_granted_when_its_run_begins_and_goes_when_that_is_written(
    start: Start, store: RunStore
) -> None:
    scheduler = await start(adopts=False, limits=Limits(active_runs=1))
    for run in ("first", "second"):
        await scheduler.submit(run, "two", ())
    store.ask_cancel("second", "behind")
    await asyncio.sleep(0.2)
    assert store.heard_cancel("second", "behind")[0] is False
    for _ in range(2):
        scheduler.workers.end(await scheduler.call("first"))
    task = await scheduler.call("second")
    await until(lambda: store.heard_cancel("second", "behind")[0])
    assert store.record("second").nodes[1].state is NodeState.CANCELLED
    scheduler.workers.end(task)
    record = await scheduler.wait("second", WAIT_S)
    assert (record.state, record.partial) == (RunState.DONE, True)


async def test_a_wish_that_was_heard_outlives_a_crash_until_it_is_granted(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False)
    await scheduler.submit("r", "one", ())
    await scheduler.call()
    scheduler.keeper.away = True
    store.ask_cancel("r", None)
    await until(lambda: not scheduler.workers.calls)
    await asyncio.sleep(0.1)
    heard, state = store.heard_cancel("r", None)
    assert (heard, state.ended) == (False, False)
    scheduler.keeper.away = False
    await until(lambda: store.heard_cancel("r", None) == (True, RunState.CANCELLED))


async def test_a_run_that_was_opened_again_has_one_new_deadline(start: Start, store: RunStore) -> None:
    pipeline = Pipeline(name="timed", deadline_s=500.0).node("n", call="builtins:int")
    add(store, pipeline, deadline_at_s=1.0)
    store.cancel_unowned(store.leases("r")[0])
    store.reopen("r")
    assert store.claim(store.leases("r"), "")[0].deadline_at_s is None
    scheduler = await start(adopts=False)
    await scheduler.resume("r")
    await scheduler.call()
    await scheduler._journal.flushed()  # type: ignore[attr-defined]
    deadline_at_s = store.claim(store.leases("r"), "other")[0].deadline_at_s
    assert deadline_at_s == pytest.approx(time.time() + 500.0, abs=WAIT_S)


async def test_a_run_says_where_its_functions_are_imported_from(start: Start, store: RunStore) -> None:
    scheduler = await start(adopts=False, import_paths=("/some/where",))
    await scheduler.submit("r", "one", ())
    assert store.import_paths("r") == [Path("/some/where")]


def test_a_batch_of_rows_of_a_run_that_was_lost_leaves_the_others(store: RunStore) -> None:
    add(store, ONE, "mine")
    add(store, ONE, "lost")
    store.claim(store.leases("mine"), "me")
    rows = [{"run": run, "state": RunState.DONE.value} for run in ("mine", "lost")]
    assert store.write(Batch(runs=rows), "me") == ["lost"]
    assert kept(store) == {"mine": RunState.DONE, "lost": RunState.QUEUED}


async def test_a_submission_that_comes_again_is_taken_on_once_whoever_it_comes_to(
    start: Start, store: RunStore
) -> None:
    first = await start(adopts=False)
    await first.submit("r", "one", (), submission="1")
    task = await first.call()
    # No answer came: to the same scheduler, and to another that stands in its place.
    await first.submit("r", "one", (), submission="1")
    second = await start(adopts=False)
    await second.submit("r", "one", (), submission="1")
    assert list(first.workers.calls) == [task]
    assert not second.workers.calls
    for scheduler in (first, second):
        with pytest.raises(SpecError, match="there is a run r already"):
            await scheduler.submit("r", "one", (), submission="2")
    first.workers.end(task)
    assert (await first.wait("r", WAIT_S)).state is RunState.DONE
    assert kept(store) == {"r": RunState.DONE}
