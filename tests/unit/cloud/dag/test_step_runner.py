"""A step gets what it asks for, and whatever it does comes back as a report."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support import dag_steps
from tercet_cloud.dag.baton import Baton
from tercet_cloud.dag.call import ABSENT, ITEM, ONE, Call, Circumstances, Means, Report, make_call, unpack_call
from tercet_cloud.dag.outcomes import LOOK, WHOLE
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.dag.step_output import MAX_CHARS
from tercet_cloud.dag.step_runner import Given, Item, run_step


def call_of(**fields: Any) -> Call:
    pipeline = Pipeline(name="p", inputs={"x": "any", "y": "any"}).node("n", **fields)
    return unpack_call(make_call(pipeline, "n", "cloud", Means(Path("store"))).packed())


def run(call: Call, *values: Any, item: int = WHOLE, attempt: int = 1) -> tuple[Report, Any]:
    def elsewhere(call: Call, arguments: Mapping[str, Any], circumstances: Circumstances) -> Any:
        raise AssertionError("nothing runs elsewhere here")

    return run_step(call, Circumstances("r", item, attempt, (), 0.0, 5.0), Given(values), elsewhere)


def test_a_function_gets_its_arguments_options_and_what_it_asks_for() -> None:
    report, value = run(call_of(call=dag_steps.told, options={"x": 2}), attempt=3)
    assert (report.state, value) == ("done", "r/n 3")
    _, value = run(call_of(call=dag_steps.told), item=7)
    assert value == "r/n/7 1"


def test_sources_are_read_once_and_by_their_path() -> None:
    call = call_of(call=dag_steps.anything, needs={"a": "input.x.k", "b": "input.x", "c": "input.y[1]"})
    assert call.sources == ("input.x", "input.y")
    _, value = run(call, {"k": 1}, [5, 6])
    assert value == {"a": 1, "b": {"k": 1}, "c": 6}


def test_values_are_unpacked_by_their_counts() -> None:
    given = Given.unpack((ONE, ABSENT, 3, ITEM), ["one", "a", "b", "c", "item"])
    assert given.values[0] == "one"
    assert given.values[2:] == (["a", "b", "c"], Item("item"))


def test_an_item_is_taken_from_its_list_or_is_there_already() -> None:
    call = call_of(call=dag_steps.anything, needs={"a": "input.x", "b": "input.y"}, map="a")
    assert run(call, [4, 5, 6], "same", item=1)[1] == {"a": 5, "b": "same"}
    assert run(call, Item(9), "same", item=1)[1] == {"a": 9, "b": "same"}


def test_looking_tells_the_common_length_and_refuses_what_is_no_list() -> None:
    call = call_of(call=dag_steps.anything, needs={"a": "input.x", "b": "input.y"}, map=["a", "b"])
    assert run(call, [1, 2], [3, 4], item=LOOK)[0].length == 2
    report, _ = run(call, [1, 2], [3], item=LOOK)
    assert (report.reason, report.may_retry) == (
        "InputError: lists that are mapped together are of equal length; a has 2, b has 1",
        False,
    )
    assert "a is number, not a list" in run(call, 5, [1], item=LOOK)[0].reason


def test_a_condition_that_does_not_hold_skips_and_one_that_cannot_be_told_fails() -> None:
    call = call_of(call=dag_steps.inc, needs={"x": "input.x"}, when="input.x > 1 and input.y == null")
    assert run(call, 2, None)[0].state == "done"
    assert run(call, 1, None)[0].state == "skipped"
    report, _ = run(call, "text", None)
    assert (report.state, report.may_retry) == ("failed", False)


@pytest.mark.parametrize(
    ("function", "trouble", "reason"),
    [
        (dag_steps.fails, "error", "RuntimeError: no 1"),
        (dag_steps.wrong_type, "wrong type", "it gave number where text is wanted"),
        (dag_steps.leaves, "error", "SystemExit: 3"),
        (dag_steps.needs_more, "error", "TypeError: "),
    ],
)
def test_whatever_a_function_does_is_reported(function: Any, trouble: str, reason: str) -> None:
    report, value = run(call_of(call=function, needs={"x": "input.x"}), 1)
    assert (report.state, report.trouble, value) == ("failed", trouble, None)
    assert report.reason.startswith(reason)


def test_what_a_function_prints_and_its_trace_from_itself_on_are_kept_within_bounds() -> None:
    report, _ = run(call_of(call=dag_steps.fails, needs={"x": "input.x"}), 1)
    assert report.log.startswith("about to fail\nTraceback")
    assert "step_runner.py" not in report.log
    report, _ = run(call_of(call=dag_steps.talks, needs={"x": "input.x"}), 100_000)
    assert len(report.log) <= MAX_CHARS + 1
    assert report.log.endswith("the end\n")


def test_a_memory_limit_holds_for_the_call_and_no_longer() -> None:
    call = call_of(call=dag_steps.greedy, needs={"x": "input.x"}, max_memory_mb=50)
    report, _ = run(call, 1)
    assert report.trouble == "memory"
    assert run(call_of(call=dag_steps.greedy, needs={"x": "input.x"}), 1)[0].state == "done"


def test_the_baton_goes_by_rank_and_a_dropped_call_never_runs() -> None:
    baton, order = Baton(), list[str]()
    holding, go = threading.Event(), threading.Event()

    def work(name: str, rank: float) -> None:
        with baton.held(name, rank) as may:
            if name == "first":
                holding.set()
                go.wait(10)
            if may:
                order.append(name)

    threads = [threading.Thread(target=work, args=("first", 0.0))]
    threads[0].start()
    assert holding.wait(10)
    for name, rank in (("low", 5.0), ("dropped", 1.0), ("high", -5.0)):
        threads.append(threading.Thread(target=work, args=(name, rank)))
        threads[-1].start()
    while len(baton._waiting) < 3:
        pass
    assert baton.drop("dropped").state == "dropped"
    standing = baton.drop("first")
    assert (standing.state, 0 < standing.ran_s < 10) == ("running", True)
    go.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "high", "low"]
    assert baton.drop("first") == ("ended", 0.0)
    assert (baton._dropped, baton._began_s) == (set(), {})


def test_a_call_that_is_dropped_before_it_arrives_never_runs_there_or_beside_others() -> None:
    baton = Baton()
    for name in ("a", "b"):
        assert baton.drop(name).state == "dropped"
    with baton.held("a", 0.0) as a, baton.aside("b") as b, baton.aside("c") as c:
        assert (a, b, c) == (False, False, True)
        assert baton.drop("c").state == "running"
    assert baton._dropped == set()
