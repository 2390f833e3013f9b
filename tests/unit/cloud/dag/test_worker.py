"""What is wrong with one call of a message is in its own report; what waits for a tier keeps no other waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from support import dag_steps
from tercet_cloud.dag import worker as worker_module
from tercet_cloud.dag.call import LAZY, ONE, Call, Circumstances, Means, make_call
from tercet_cloud.dag.outcomes import WHOLE
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.dag.tier_worker import TierWorker
from tercet_cloud.dag.worker import Order, StepWorker


def order(
    name: str, *, place: str = "cloud", counts: tuple[int, ...] = (ONE,), packed: bytes = b"", **fields: Any
) -> Order:
    pipeline = Pipeline(name="p", inputs={"x": "any"}).node(
        "n", **{"call": dag_steps.inc, "needs": {"x": "input.x"}, **fields}
    )
    call: Call = make_call(pipeline, "n", place, Means(Path("store")))
    circumstances = Circumstances("r", WHOLE, 1, counts, 0.0, None, name)
    return packed or call.packed(), tuple(circumstances), len(counts), False


class _Reference:
    """Of a value that takes a while to come, or never does."""

    def __init__(self, name: str) -> None:
        self.name = name

    def hex(self) -> str:
        return self.name


@pytest.fixture
def _values(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(reference: _Reference, timeout: float) -> Any:
        if reference.name == "lost":
            raise OSError("the value is lost")
        return 1

    monkeypatch.setattr(worker_module.ray, "get", get)


@pytest.mark.usefixtures("_values")
def test_a_bad_call_fails_alone_whatever_is_wrong_with_it() -> None:
    orders = [
        order("good"),
        order("unreadable", packed=b"no call"),
        order("lost", counts=(LAZY,)),
        order("last", counts=(LAZY,)),
    ]
    reports, *values = StepWorker(None).run(orders, 1, 1, [_Reference("lost")], [_Reference("there")])
    assert [report.state for report in reports] == ["done", "failed", "failed", "done"]
    assert (values, reports[2].reason) == ([2, None, None, 2], "OSError: the value is lost")


class _Slow(OrderedDict[str, Any]):
    """Other threads get their turn in the middle of every use."""

    def move_to_end(self, key: str, last: bool = True) -> None:
        super().move_to_end(key, last)
        time.sleep(0.0005)


@pytest.mark.usefixtures("_values")
def test_lists_are_fetched_by_many_threads_at_once() -> None:
    worker, troubles = StepWorker(None), list[BaseException]()
    worker._lists = _Slow()

    def fetch(first: int) -> None:
        try:
            for number in range(100):
                worker._fetch(_Reference(f"v{(first + number) % 7}"))
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert troubles == []


class _Places:
    """Tiers that answer only when they are told to, and calls that were given up."""

    def __init__(self) -> None:
        self.gone = dict[str, threading.Event]()
        self.asked = threading.Semaphore(0)

    def run(self, call: Call, arguments: Any, circumstances: Circumstances) -> Any:
        if call.place == "device:cam-1":
            return "seen"
        self.gone[circumstances.name] = threading.Event()
        self.asked.release()
        self.gone[circumstances.name].wait(30)
        return "given up"

    def give_up(self, name: str) -> None:
        self.gone[name].set()


async def test_edges_that_answer_nobody_keep_no_device_waiting_and_what_is_given_up_frees_its_thread() -> None:
    worker = TierWorker(None)
    worker._worker._places = places = _Places()  # type: ignore[assignment]
    edge = [f"edge{number}" for number in range(65)]
    asking = [asyncio.create_task(worker.run([order(name, place="edge")], 1)) for name in edge]
    async with asyncio.timeout(30):
        for _ in range(64):
            await asyncio.to_thread(places.asked.acquire)
        (report,), value = await worker.run([order("device", place="device:cam-1")], 1)
        assert (report.state, value) == ("done", "seen")
        assert "edge64" not in places.gone
        assert (await worker.drop("edge0")).state == "running"
        await asyncio.to_thread(places.asked.acquire)
        assert (await worker.drop("edge64")).state == "running"
        for name in edge[1:64]:
            await worker.drop(name)
        await asyncio.gather(*asking)
    for threads in worker._threads.values():
        threads.shutdown()
