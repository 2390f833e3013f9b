"""Changes reach whoever listens, rules act on them once, and equal content is never computed or told twice."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import dag_steps
from tercet.errors import InputError, LinkDownError, NotFoundError, OverloadedError, SpecError
from tercet.models.store import Store
from tercet_cloud.dag.call import Call, Circumstances, Means, make_call
from tercet_cloud.dag.events.bus import Event, EventBus
from tercet_cloud.dag.events.content import digest_of
from tercet_cloud.dag.events.result_cache import ResultCache, call_key
from tercet_cloud.dag.events.rules import Rule, Rules, RuleTable, check_rules, read_rules
from tercet_cloud.dag.events.runner import EventRunner, Reaction
from tercet_cloud.dag.outcomes import WHOLE, RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.session import Ended
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.dag.step_runner import Given, run_step

PATH = Path("p.yaml")


@dataclass
class Point:
    x: float
    y: list[int]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (1, "1"),
        ("ab", b"ab"),
        (["ab"], ["a", "b"]),
        ([[1], 2], [1, [2]]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, [["a", 1]]),
        (np.zeros(4, np.float32), np.zeros(4, np.float64)),
        (np.zeros((2, 2)), np.zeros(4)),
        (Point(1.0, [1]), Point(1.0, [2])),
        (None, False),
        (0.0, -0.0),
        (np.zeros(2, [("a", "i4"), ("b", "f4")]), np.zeros(2, [("a", "f4"), ("b", "i4")])),
        (np.zeros(2, [("a", "i4"), ("b", "f4")])[0], np.zeros(2, [("a", "f4"), ("b", "i4")])[0]),
        (np.array(["2026-01-01"], "M8[D]"), np.array(["2026-01-02"], "M8[D]")),
    ],
)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)


def test_equal_values_have_equal_digests_whatever_their_order_or_memory() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert digest_of({"a": 1, "b": array}) == digest_of({"b": array.T.copy().T, "a": 1})
    assert digest_of(Point(1.0, [1])) == digest_of(Point(1.0, [1]))
    assert digest_of("a", "b") != digest_of("ab")
    assert digest_of(array[:, ::2]) == digest_of(array[:, ::2].copy())


# --- results by content


def call_of(**fields: Any) -> Call:
    pipeline = Pipeline(name="p", inputs={"x": "any"}).node("n", needs={"x": "input.x"}, **fields)
    return make_call(pipeline, "n", "cloud", Means(Path("store")))


def test_equal_inputs_are_answered_from_the_cache_and_others_are_not(tmp_path: Path) -> None:
    cache, trace = ResultCache(tmp_path / "cache"), tmp_path / "trace"
    call = call_of(call=dag_steps.traced, options={"trace": str(trace)}, reuse=True)
    circumstances = Circumstances("r", WHOLE, 1, (), 0.0, None)
    reused = []
    for x in (1, 1, 2):
        report, value = run_step(call, circumstances, Given(({"v": x},)), lambda *_: None, cache)
        assert (report.state, value) == ("done", {"v": x})
        reused.append(report.reused)
    assert reused == [False, True, False]
    assert len(trace.read_text().split()) == 2


def test_a_key_names_what_is_called_with_what_and_nothing_else() -> None:
    one = call_of(call=dag_steps.inc)
    assert call_key(one, {"x": 1}) == call_key(call_of(call=dag_steps.inc, retries=3, priority="high"), {"x": 1})
    assert call_key(one, {"x": 1}) != call_key(one, {"x": 2})
    assert call_key(one, {"x": 1}) != call_key(call_of(call=dag_steps.waits), {"x": 1})
    assert call_key(one, {"x": 1}) != call_key(call_of(call=dag_steps.inc, options={"y": 1}), {"x": 1})


def test_the_order_of_arguments_and_of_mappings_in_them_is_part_of_a_key() -> None:
    call = call_of(builtin="join", options={"separator": " "})
    assert call_key(call, {"a": "x", "b": "y"}) != call_key(call, {"b": "y", "a": "x"})
    assert call_key(call, {"a": {"x": 1, "y": 2}}) != call_key(call, {"a": {"y": 2, "x": 1}})


def test_a_replaced_model_or_deployment_answers_with_results_of_its_own(tmp_path: Path) -> None:
    card = Store(tmp_path).card_path("m")
    card.parent.mkdir(parents=True)
    whole, split = call_of(model="m"), call_of(model="m@abc", deployment=tmp_path / "deployment.yaml")
    for call, path in ((whole, card), (split, tmp_path / "deployment.yaml")):
        call = replace(call, means=Means(tmp_path))
        path.write_text("one")
        before = call_key(call, {"x": 1})
        assert call_key(call, {"x": 1}) == before
        path.write_text("another")
        assert call_key(call, {"x": 1}) != before
        path.unlink()
        with pytest.raises(NotFoundError, match="cannot read"):
            call_key(call, {"x": 1})


def test_results_of_a_model_that_only_another_tier_knows_are_not_kept() -> None:
    with pytest.raises(SpecError, match="only known there: leave out `reuse`"):
        Pipeline(name="p").node("n", model="m", tier="edge", reuse=True)


class Gone:
    """A class that a later version may lack."""

    def __reduce__(self) -> Any:
        return (_raise, ())


def _raise() -> None:
    raise ImportError("it has gone")


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "unreadable"])
def test_a_kept_result_that_is_damaged_is_computed_anew_and_kept_again(tmp_path: Path, damage: str) -> None:
    cache, trace = ResultCache(tmp_path / "cache"), tmp_path / "trace"
    call = call_of(call=dag_steps.traced, options={"trace": str(trace)}, reuse=True)

    def run() -> tuple[Any, bool]:
        given = Given(({"v": 1},))
        report, value = run_step(call, Circumstances("r", WHOLE, 1, (), 0.0, None), given, lambda *_: None, cache)
        assert report.state == "done", report.reason
        return value, report.reused

    assert run() == ({"v": 1}, False)
    (path,) = (tmp_path / "cache").glob("*/*")
    whole = path.read_bytes()
    match damage:
        case "torn":
            path.write_bytes(whole[:-3])
        case "empty":
            path.write_bytes(b"")
        case "flipped":
            path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        case _:
            cache.put(path.name, pickle.dumps(Gone()))
    assert run() == ({"v": 1}, False)
    assert run() == ({"v": 1}, True)
    assert path.read_bytes() == whole


def test_a_full_cache_forgets_what_nobody_asked_for_longest(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, max_bytes=1000)
    for number in range(30):
        cache.put(f"{number:064x}", bytes(100))
        assert cache.get(f"{0:064x}") is not None
    left = list(tmp_path.glob("*/*"))
    assert sum(path.stat().st_size for path in left) <= 1300
    cache.put("f" * 64, bytes(5000))
    assert cache.get("f" * 64) is None


# --- the bus


async def test_a_change_reaches_those_who_listen_for_its_key_and_an_equal_one_nobody() -> None:
    bus = EventBus()
    cameras, every = bus.listen("camera/*"), bus.listen()
    assert bus.publish("camera/1", {"n": 1})
    assert not bus.publish("camera/1", {"n": 1})
    assert bus.publish("door", 1)
    assert (await cameras.next()).key == "camera/1"
    assert [(await every.next()).key for _ in range(2)] == ["camera/1", "door"]
    assert bus.unchanged == 1
    bus.leave(cameras)
    bus.publish("camera/1", {"n": 2})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(cameras.next(), 0.01)


async def test_a_slow_listener_gets_the_last_of_every_key_and_the_oldest_keys_go() -> None:
    bus = EventBus()
    listener = bus.listen(most=2)
    for key, value in (("a", 1), ("a", 2), ("b", 1), ("c", 1)):
        bus.publish(key, value)
    found = [await listener.next() for _ in range(2)]
    assert [(event.key, event.value) for event in found] == [("b", 1), ("c", 1)]
    assert (listener.superseded, listener.dropped) == (1, 1)


async def test_a_listener_that_is_cancelled_while_it_waits_loses_nothing() -> None:
    bus = EventBus()
    listener = bus.listen()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.next(), 0.01)
    bus.publish("a", 1)
    assert (await listener.next()).key == "a"


# --- rules


def event(key: str = "k", value: Any = None, at_s: float = 0.0) -> Event:
    return Event(key, value, digest_of(value), at_s)


def table(**fields: Any) -> RuleTable:
    return RuleTable(Rules(rules=(Rule(pipeline=PATH, **{"key": "*", **fields}),)))


def test_a_rule_acts_on_keys_and_values_that_it_names() -> None:
    rules = table(key="mic/*", when="event.value.level > 0.5 and event.key != 'mic/2'")
    assert len(rules.changed(event("mic/1", {"level": 0.9}), 0)) == 1
    assert rules.changed(event("mic/1", {"level": 0.1}), 0) == []
    assert rules.changed(event("mic/2", {"level": 0.9}), 0) == []
    assert rules.changed(event("door", {"level": 0.9}), 0) == []
    assert rules.changed(event("mic/1", {}), 0) == []
    assert rules.troubles == 1


def test_a_debounced_rule_waits_until_a_key_is_quiet_and_acts_on_the_last_change() -> None:
    rules = table(debounce_s=1.0)
    assert rules.changed(event(value=1), 0.0) == []
    assert rules.changed(event(value=2), 0.8) == []
    assert rules.pass_time(1.0) == []
    assert rules.next_due_s() == 1.8
    (trigger,) = rules.pass_time(1.8)
    assert trigger.event.value == 2
    assert rules.pass_time(10.0) == []


def test_a_key_that_is_never_quiet_is_acted_on_all_the_same() -> None:
    rules, acted = table(debounce_s=1.0), 0
    for number in range(100):
        now_s = number * 0.5
        rules.changed(event(value=number), now_s)
        acted += len(rules.pass_time(now_s))
    assert acted >= 4


def test_a_key_that_changes_all_the_time_waits_as_one() -> None:
    rules = table(debounce_s=10.0)
    for number in range(10_000):
        rules.changed(event(value=number), number * 1e-3)
        assert rules.pass_time(number * 1e-3) == []
        assert len(rules._due) == 1
    assert [trigger.event.value for trigger in rules.pass_time(20.0)] == [9_999]
    assert (rules._due, rules.next_due_s()) == ([], None)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"clip": "event.value"}, r"rules\.0\.inputs: pipeline p of p\.yaml has no input clip \(its inputs: x\)"),
        ({}, "needs the input x, which the rule does not give"),
    ],
)
def test_a_rule_gives_its_pipeline_the_inputs_that_it_has(inputs: dict[str, str], message: str) -> None:
    pipelines = {PATH: Pipeline(name="p", inputs={"x": "any"}).node("n", call=dag_steps.inc)}
    with pytest.raises(SpecError, match=message):
        check_rules(Rules(rules=(Rule(key="*", pipeline=PATH, inputs=inputs),)), pipelines)
    check_rules(Rules(rules=(Rule(key="*", pipeline=PATH, inputs={"x": "event.value"}),)), pipelines)


def test_a_rule_takes_inputs_from_the_event() -> None:
    rule = Rule(key="*", pipeline=PATH, inputs={"x": "event.value.clip", "who": "event.key"})
    assert rule.inputs_of(event("mic/1", {"clip": [1]})) == {"x": [1], "who": "mic/1"}
    with pytest.raises(InputError, match="no 'clip'"):
        rule.inputs_of(event(value={}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: []", r"rules\.yaml:1: rules: "),
        ("rules:\n- {key: a, pipeline: p.yaml, colour: red}", r":2: rules\.0\.colour: unknown key"),
        ("rules:\n- key: a\n  pipeline: p.yaml\n  when: other.x > 1", r":4: rules\.0\.when: other\.x is not event"),
        ("rules:\n- key: a\n  pipeline: p.yaml\n  inputs: {x: a.b}", r":4: rules\.0\.inputs: a\.b is not event"),
        ("rules:\n- key: a\n  pipeline: p.yaml\n  debounce_s: -1", r":4: rules\.0\.debounce_s"),
    ],
)
def test_a_bad_rule_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        read_rules(path)


def test_pipelines_of_rules_lie_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n- {key: a, pipeline: sub/p.yaml}")
    assert read_rules(path).rules[0].pipeline == tmp_path / "sub" / "p.yaml"


# --- the runner


class RecordedRuns:
    """Ends every run at once, after refusing so many."""

    def __init__(self, refused: int = 0) -> None:
        self.inputs: list[Mapping[str, object]] = []
        self._refused = refused

    async def run(
        self, pipeline: Pipeline, inputs: Mapping[str, object] | None = None, *, priority: int | None = None
    ) -> Ended:
        if self._refused:
            self._refused -= 1
            raise OverloadedError("full", retry_after_s=0.001)
        self.inputs.append(dict(inputs or {}))
        return Ended(
            RunRecord("r", pipeline.name, RunState.DONE), {key: dict(inputs or {}) for key in pipeline.events}
        )


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_changes_become_runs_with_their_inputs_also_when_the_scheduler_is_full() -> None:
    pipeline = Pipeline(name="p", inputs={"x": "number"}).node("n", call=dag_steps.inc, needs={"x": "input.x"})
    runs, bus, seen = RecordedRuns(refused=2), EventBus(), list[Reaction]()
    rules = Rules(rules=(Rule(key="*", pipeline=PATH, inputs={"x": "event.value"}, debounce_s=0.02),))
    runner = EventRunner(runs, bus, rules, {PATH: pipeline}, seen.append)
    async with runner.running():
        for value in (1, 2, 3):
            bus.publish("a", value)
        await until(lambda: len(seen) == 1)
        bus.publish("a", "no number")
        await until(lambda: len(seen) == 2)
    assert runs.inputs == [{"x": 3}]
    assert (runner.reactions, runner.failures) == (1, 1)
    assert "text where number is wanted" in str(seen[1].error)


async def test_events_of_a_run_that_a_rule_began_are_told_and_so_rules_chain() -> None:
    first = Pipeline(name="first", inputs={"x": "number"}, events={"found": "n"}).node("n", call=dag_steps.inc)
    second = Pipeline(name="second", inputs={"x": "any"}).node("n", call=dag_steps.inc)
    runs, bus, seen = RecordedRuns(), EventBus(), list[Reaction]()
    rules = Rules(
        rules=(
            Rule(key="a", pipeline=Path("1"), inputs={"x": "event.value"}),
            Rule(key="found", pipeline=Path("2"), inputs={"x": "event.value"}),
        )
    )

    async def tell(events: Mapping[str, Any]) -> None:
        for key, value in events.items():
            bus.publish(key, value)

    async with EventRunner(runs, bus, rules, {Path("1"): first, Path("2"): second}, seen.append, tell).running():
        bus.publish("a", 7)
        await until(lambda: len(seen) == 2)
    assert runs.inputs == [{"x": 7}, {"x": {"x": 7}}]


async def test_a_run_whose_events_cannot_be_told_is_a_run_and_says_so() -> None:
    of = Pipeline(name="p", inputs={"x": "number"}, events={"found": "n"}).node("n", call=dag_steps.inc)
    bus, seen = EventBus(), list[Reaction]()
    rules = Rules(rules=(Rule(key="a", pipeline=PATH, inputs={"x": "event.value"}),))

    async def tell(events: Mapping[str, Any]) -> None:
        raise LinkDownError("no broker")

    async with EventRunner(RecordedRuns(), bus, rules, {PATH: of}, seen.append, tell).running():
        bus.publish("a", 7)
        await until(lambda: len(seen) == 1)
    assert seen[0].run is not None
    assert str(seen[0].error) == "no broker"
