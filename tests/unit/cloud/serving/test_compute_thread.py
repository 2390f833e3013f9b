"""Who computes next: realtime calls, and durable ones in the gaps."""

from __future__ import annotations

import threading

import pytest

from tercet_cloud.serving.compute_thread import ComputeThread

WAIT_S = 20.0


class Busy:
    """Keeps a thread busy until it is let go."""

    def __init__(self, thread: ComputeThread) -> None:
        self._go, began = threading.Event(), threading.Event()

        def work() -> None:
            began.set()
            self._go.wait(WAIT_S)

        thread.submit(work)
        assert began.wait(WAIT_S)

    def let_go(self) -> None:
        self._go.set()


def test_realtime_calls_go_before_durable_ones_and_each_kind_in_its_order() -> None:
    thread = ComputeThread("test", patience_s=1000)
    busy, done = Busy(thread), []
    calls = [
        thread.submit(lambda name=name: done.append(name), patient=name.startswith("durable"))  # type: ignore[misc]
        for name in ("durable 1", "durable 2", "realtime 1", "realtime 2")
    ]
    busy.let_go()
    for call in calls:
        call.result(WAIT_S)
    assert done == ["realtime 1", "realtime 2", "durable 1", "durable 2"]


def test_under_realtime_load_durable_calls_still_get_their_turn() -> None:
    thread = ComputeThread("test", patience_s=0)
    busy, done = Busy(thread), []
    durable = thread.submit(lambda: done.append("durable"), patient=True)
    realtime = [thread.submit(lambda: done.append("realtime")) for _ in range(3)]
    busy.let_go()
    durable.result(WAIT_S)
    for call in realtime:
        call.result(WAIT_S)
    assert done[0] == "durable"


def test_a_call_that_fails_tells_its_caller_and_the_next_one_runs() -> None:
    thread = ComputeThread("test")

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        thread.submit(fail).result(WAIT_S)
    assert thread.submit(lambda: 7).result(WAIT_S) == 7


def test_a_call_that_is_cancelled_while_it_waits_never_runs() -> None:
    thread = ComputeThread("test")
    busy, done = Busy(thread), []
    cancelled = thread.submit(lambda: done.append("cancelled"))
    assert cancelled.cancel()
    busy.let_go()
    thread.submit(lambda: done.append("next")).result(WAIT_S)
    assert done == ["next"]
