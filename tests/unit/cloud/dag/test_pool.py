"""A call ends for what it did itself: not for what waited before it, came with it, or ran beside it."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayTaskError

from support.fake_workers import FakeWorker, PoolAtHand, settled, task
from tercet_cloud.dag import pool as pool_module
from tercet_cloud.dag.baton import Standing
from tercet_cloud.dag.outcomes import Failed, TakenBack, Trouble
from tercet_cloud.dag.pool import name_of


class _Ray:
    """The part of Ray that a pool uses beside its handles."""

    @staticmethod
    def kill(handle: FakeWorker) -> None:
        handle.killed = True


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ray", _Ray)
    monkeypatch.setattr(pool_module, "_ANSWER_S", 0.05)


def says(worker: FakeWorker, run: str, state: str, ran_s: float = 0.0) -> None:
    worker.standings[name_of(task(run))] = Standing(state, ran_s)


# --- over their time


async def test_of_calls_given_ahead_only_the_one_that_hangs_is_over_its_time() -> None:
    at = await PoolAtHand.of(1)
    at.give("hangs", timeout_s=2.0)
    for run in ("b", "c"):
        at.give(run, timeout_s=2.0)
    (worker,) = at.workers
    says(worker, "hangs", "running", 2.0)
    for run in ("hangs", "b", "c"):
        at.pool.check(task(run))
    await settled()
    assert at.outcomes() == {
        "hangs": Failed(Trouble.TIMEOUT, "no result within 2 s"),
        "b": TakenBack(),
        "c": TakenBack(),
    }
    assert worker.killed


async def test_of_calls_in_one_message_only_the_one_that_hangs_is_over_its_time() -> None:
    at = await PoolAtHand.of(1)
    at.give("ended", "hangs", "behind", timeout_s=2.0)
    (worker,) = at.workers
    says(worker, "ended", "ended")
    says(worker, "hangs", "running", 2.0)
    for run in ("behind", "ended", "hangs"):
        at.pool.check(task(run))
    await settled()
    assert at.outcomes() == {
        "ended": TakenBack(),
        "behind": TakenBack(),
        "hangs": Failed(Trouble.TIMEOUT, "no result within 2 s"),
    }


async def test_a_call_that_waited_is_taken_back_and_what_runs_before_it_is_left_alone() -> None:
    at = await PoolAtHand.of(1)
    at.give("runs")
    at.give("waits", timeout_s=2.0)
    at.pool.check(task("waits"))
    await settled()
    assert at.outcomes() == {"waits": TakenBack()}
    await at.workers[0].end("runs/0/-1/1")
    assert at.outcomes()["runs"] == "done"
    assert not at.workers[0].killed


async def test_a_call_that_began_late_has_all_its_time() -> None:
    at = await PoolAtHand.of(1)
    at.give("first")
    at.give("late", timeout_s=2.0)
    await at.workers[0].end("first/0/-1/1")
    says(at.workers[0], "late", "running", 0.5)
    now_s = asyncio.get_running_loop().time()
    at.pool.check(task("late"))
    await settled()
    assert at.again["late"] == pytest.approx(now_s + 1.5, abs=0.1)
    assert at.outcomes() == {"first": "done"}


async def test_a_call_that_has_ended_is_waited_for_its_report_is_on_its_way() -> None:
    at = await PoolAtHand.of(1)
    at.give("first")
    at.give("late", timeout_s=2.0)
    await at.workers[0].end("first/0/-1/1")
    says(at.workers[0], "late", "ended")
    at.pool.check(task("late"))
    await settled()
    await at.workers[0].end("late/0/-1/1")
    assert at.outcomes() == {"first": "done", "late": "done"}


async def test_the_time_of_a_call_does_not_run_while_no_worker_is_up() -> None:
    at = await PoolAtHand.of(1, up=False)
    now_s = asyncio.get_running_loop().time()
    at.give("waits", timeout_s=2.0)
    at.pool.check(task("waits"))
    assert at.again["waits"] == pytest.approx(now_s + 2.0, abs=0.1)
    assert at.arrived == []


async def test_of_calls_in_a_worker_that_does_not_answer_each_is_tried_again_alone() -> None:
    at = await PoolAtHand.of(1)
    at.give("a", timeout_s=2.0)
    at.give("b", timeout_s=2.0)
    at.workers[0].standings[name_of(task("a"))] = None
    at.pool.check(task("a"))
    await asyncio.sleep(0.1)
    failed = Failed(Trouble.WORKER_DIED, "its worker did not answer any more", innocent=True)
    assert at.outcomes() == {"a": failed, "b": failed}
    assert at.workers[0].killed


# --- where calls go


async def test_what_starts_when_another_is_stopped_does_not_queue_behind_a_long_call() -> None:
    at = await PoolAtHand.of(2)
    at.give("long", short=False)
    at.give("hangs", short=False)
    at.pool.stop(task("hangs"))
    assert (at.workers[1].killed, at.sizes[-1]) == (True, 1)
    at.give("next", short=False)
    at.give("short")
    await settled()
    assert at.workers[0].names == [["long/0/-1/1"]]
    await at.workers[0].end("long/0/-1/1")
    assert at.workers[0].names == [["next/0/-1/1"]]


async def test_a_worker_that_is_asked_gets_no_calls_until_it_has_answered() -> None:
    at = await PoolAtHand.of(1)
    for run in ("runs", "stopped"):
        at.give(run)
    at.pool.stop(task("stopped"))
    assert at.sizes[-1] == 0
    at.give("next")
    assert len(at.workers[0].names) == 2
    await settled()
    assert at.sizes[-1] == 1
    assert at.workers[0].names[-1] == ["next/0/-1/1"]


async def test_what_waits_for_a_worker_goes_by_rank() -> None:
    at = await PoolAtHand.of(1)
    at.give("runs", short=False)
    for run, rank in (("low", 5.0), ("high", -5.0)):
        at.give(run, short=False, rank=rank)
    await at.workers[0].end("runs/0/-1/1")
    assert at.workers[0].names == [["high/0/-1/1"]]


async def test_a_suspect_is_not_starved_by_calls_that_could_go_behind_others() -> None:
    at = await PoolAtHand.of(1)
    at.give("suspect", "other")
    await at.workers[0].end("suspect/0/-1/1", "other/0/-1/1", error=RayTaskError("run", "broken", ValueError("x")))
    at.give("before")
    at.give("suspect", rank=1.0)
    for number in range(5):
        at.give(f"after{number}", rank=2.0 + number)
    await at.workers[0].end("before/0/-1/1")
    assert at.workers[0].names == [["suspect/0/-1/1"]]


# --- troubles of workers and messages


async def test_one_bad_call_of_a_message_is_found_by_trying_each_alone_uncounted() -> None:
    at = await PoolAtHand.of(1)
    at.give("bad", "good")
    error = RayTaskError("run", "broken", ValueError("x"))
    await at.workers[0].end("bad/0/-1/1", "good/0/-1/1", error=error)
    assert all(outcome.innocent for outcome in at.outcomes().values())
    at.give("bad", "good")
    assert at.workers[0].names == [["bad/0/-1/1"]]
    await at.workers[0].end("bad/0/-1/1", error=error)
    assert at.outcomes()["bad"].innocent is False
    await at.workers[0].end("good/0/-1/1")
    assert at.outcomes()["good"] == "done"


@pytest.mark.parametrize("error", [ActorUnavailableError("blip", None), OutOfMemoryError("full")])
async def test_a_worker_that_may_live_on_is_killed_and_gets_no_more_calls(error: Exception) -> None:
    at = await PoolAtHand.of(1)
    at.give("a")
    await at.workers[0].end("a/0/-1/1", error=error)
    assert (at.workers[0].killed, at.pool.usable) == (True, 0)
    assert at.outcomes()["a"].innocent is True


async def test_calls_of_other_tiers_are_not_suspected_when_the_worker_that_asks_dies() -> None:
    at = await PoolAtHand.of(1, beside=True)
    for run in ("a", "b"):
        at.give(run, short=False)
    await at.workers[0].end("a/0/-1/1", error=ActorUnavailableError("gone", None))
    assert all(outcome.innocent for outcome in at.outcomes().values())
    assert len(at.pool._blame) == 0


async def test_calls_of_other_tiers_that_end_are_given_up_and_the_others_go_on() -> None:
    at = await PoolAtHand.of(1, beside=True)
    for run in ("over", "stopped", "other"):
        at.give(run, short=False, timeout_s=0.01)
    await asyncio.sleep(0.02)
    at.pool.check(task("over"))
    at.pool.stop(task("stopped"))
    await settled()
    assert at.outcomes() == {"over": Failed(Trouble.TIMEOUT, "no result within 0.01 s")}
    assert at.workers[0].dropped == ["over/0/-1/1", "stopped/0/-1/1"]
    await at.workers[0].end("other/0/-1/1")
    assert at.outcomes()["other"] == "done"


async def test_a_run_that_has_ended_is_not_remembered_as_a_suspect() -> None:
    at = await PoolAtHand.of(1)
    at.give("a")
    await at.workers[0].end("a/0/-1/1", error=ActorUnavailableError("gone", None))
    assert len(at.pool._blame) == 1
    at.pool.forget("a")
    assert len(at.pool._blame) == 0
