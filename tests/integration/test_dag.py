"""Pipelines on a real Ray: values, workers that die, hang and fill their memory, runs that outlive all."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import dag_steps
from tercet.errors import InputError, NotFoundError, OverloadedError, SpecError
from tercet_cloud.dag.cancelling import cancel_run
from tercet_cloud.dag.events.bus import EventBus
from tercet_cloud.dag.events.rules import Rule, Rules
from tercet_cloud.dag.events.runner import EventRunner, Reaction
from tercet_cloud.dag.outcomes import NodeState, RunState
from tercet_cloud.dag.records import NodeRecord, RunRecord
from tercet_cloud.dag.run_store import RunStore, state_url
from tercet_cloud.dag.session import PipelineSession, SessionOptions
from tercet_cloud.dag.spec import Pipeline

TESTS = Path(__file__).parents[1]
WAIT_S = 60.0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture(scope="module")
def session(state: Path) -> Iterator[PipelineSession]:
    """One cluster for the module."""
    with PipelineSession(SessionOptions(workers=2, state=state, adopts=True, import_paths=(TESTS,))) as held:
        yield held


def pipeline(*, durable: bool = False, **fields: Any) -> Pipeline:
    return Pipeline(name="p", inputs={"x": "number"}, durable=durable, **fields)


def run(
    session: PipelineSession, of: Pipeline, x: Any = 1, deadline_s: float | None = None, **more: Any
) -> tuple[RunRecord, dict[str, Any]]:
    name = session.submit(of, {"x": x, **more}, deadline_s=deadline_s)
    record = session.wait(name, WAIT_S)
    return record, session.outputs(name)


def node(record: RunRecord, name: str) -> NodeRecord:
    found = record.node(name)
    assert found is not None
    return found


def test_values_flow_lists_fan_out_and_come_back_in_order(session: PipelineSession) -> None:
    of = (
        pipeline()
        .node("list", call=dag_steps.listed, needs={"x": "input.x"})
        .node("each", call=dag_steps.waits, needs={"x": "list"}, map="x", max_concurrency=2)
        .node("again", call=dag_steps.inc, needs={"x": "each"}, map="x")
        .node("parts", builtin="join", needs={"some": "again", "first": "each[0]", "x": "input.x"})
    )
    record, outputs = run(session, of, 20)
    assert record.state is RunState.DONE
    assert outputs == {"parts": {"some": [x + 2 for x in range(20)], "first": 1, "x": 20}}
    assert node(record, "again").ended_items == 20


def test_a_list_inside_a_value_is_fanned_out_too(session: PipelineSession) -> None:
    of = (
        pipeline()
        .node("parts", call=dag_steps.nested, needs={"x": "input.x"})
        .node("each", call=dag_steps.inc, needs={"x": "parts.numbers"}, map="x")
    )
    _, outputs = run(session, of, 3)
    assert outputs == {"each": [1, 2, 3]}


def test_conditions_skip_and_what_can_do_without_goes_on(session: PipelineSession) -> None:
    of = (
        pipeline()
        .node("no", call=dag_steps.inc, needs={"x": "input.x"}, when="input.x > 5")
        .node("behind", call=dag_steps.inc, needs={"x": "no"})
        .node("parts", builtin="join", needs={"no": "no?", "x": "input.x"})
    )
    record, outputs = run(session, of)
    assert node(record, "no").state is node(record, "behind").state is NodeState.SKIPPED
    assert outputs == {"parts": {"x": 1}}
    assert record.state is RunState.DONE
    _, outputs = run(session, of, 6)
    assert outputs == {"behind": 8, "parts": {"no": 7, "x": 6}}


def test_a_node_that_raises_is_retried_and_named_and_other_branches_go_on(session: PipelineSession) -> None:
    of = (
        pipeline()
        .node("bad", call=dag_steps.fails, needs={"x": "input.x"}, retries=2, retry_wait_s=0.01)
        .node("behind", call=dag_steps.inc, needs={"x": "bad"})
        .node("good", call=dag_steps.inc, needs={"x": "input.x"})
    )
    record, outputs = run(session, of)
    assert (record.state, record.reason) == (RunState.FAILED, "failed: bad")
    bad = node(record, "bad")
    assert (bad.attempts, bad.reason) == (3, "error: RuntimeError: no 1")
    assert len(bad.troubles) == 2
    assert "about to fail" in bad.log
    assert "raise RuntimeError" in bad.log
    assert node(record, "behind").state is NodeState.NOT_RUN
    assert outputs == {"good": 2}


def test_a_wrong_result_is_refused_and_not_retried(session: PipelineSession) -> None:
    record, _ = run(session, pipeline().node("n", call=dag_steps.wrong_type, needs={"x": "input.x"}, retries=3))
    assert (node(record, "n").attempts, node(record, "n").reason) == (
        1,
        "wrong type: it gave number where text is wanted",
    )


def test_a_node_over_its_memory_is_ended_and_its_worker_is_not(session: PipelineSession) -> None:
    of = pipeline().node("n", call=dag_steps.greedy, needs={"x": "input.x"}, max_memory_mb=100)
    record, _ = run(session, of)
    assert node(record, "n").reason.startswith("memory: it needs more memory")
    record, _ = run(session, pipeline().node("n", call=dag_steps.inc, needs={"x": "input.x"}))
    assert record.state is RunState.DONE


def test_a_node_that_hangs_is_killed_and_the_next_finds_another_worker(session: PipelineSession) -> None:
    of = (
        pipeline()
        .node("stuck", call=dag_steps.hangs, needs={"x": "input.x"}, timeout_s=0.5)
        .node("good", call=dag_steps.inc, needs={"x": "input.x"})
    )
    record, outputs = run(session, of)
    assert node(record, "stuck").reason == "timeout: no result within 0.5 s"
    assert outputs == {"good": 2}
    record, _ = run(session, pipeline().node("n", call=dag_steps.inc, needs={"x": "input.x"}))
    assert record.state is RunState.DONE


def test_of_many_short_calls_in_a_worker_only_the_one_that_hangs_is_over_its_time(session: PipelineSession) -> None:
    """The others had gone ahead to that worker, several in one message."""
    of = (
        pipeline()
        .node("list", call=dag_steps.listed, needs={"x": "input.x"})
        .node(
            "each",
            call=dag_steps.hangs_at,
            needs={"x": "list"},
            options={"at": 700},
            map={"over": "x", "may_fail": 1},
            timeout_s=1.0,
        )
    )
    record, outputs = run(session, of, 1000)
    assert (record.state, len(outputs["each"])) == (RunState.DONE, 999)
    failed = {item.item: item.reason for item in node(record, "each").each if item.reason}
    assert failed == {700: "timeout: no result within 1 s"}


def test_a_step_for_another_tier_is_asked_from_a_worker_and_says_what_is_missing(session: PipelineSession) -> None:
    record, _ = run(session, pipeline().node("n", call=dag_steps.inc, needs={"x": "input.x"}, tier="edge"))
    assert node(record, "n").reason.startswith("tier offline: LinkDownError: no broker is named")


def test_what_a_function_logs_from_info_on_is_kept(session: PipelineSession) -> None:
    record, _ = run(session, pipeline().node("n", call=dag_steps.logs, needs={"x": "input.x"}))
    assert node(record, "n").log == "INFO support.dag_steps: told 1\n"


def test_a_node_that_kills_its_worker_is_blamed_and_its_neighbours_are_not(session: PipelineSession) -> None:
    of = (
        pipeline()
        .node("deadly", call=dag_steps.dies, needs={"x": "input.x"}, retries=1, retry_wait_s=0.01)
        .node("list", call=dag_steps.listed, needs={"x": "input.x"})
        .node("each", call=dag_steps.inc, needs={"x": "list"}, map="x")
    )
    record, outputs = run(session, of, 50)
    deadly = node(record, "deadly")
    assert (deadly.attempts >= 2, deadly.reason) == (True, "worker died: its worker died while it ran")
    assert outputs == {"each": list(range(1, 51))}


def test_a_worker_that_is_killed_costs_a_try_and_no_run(session: PipelineSession, tmp_path: Path) -> None:
    of = pipeline().node(
        "n", call=dag_steps.dies_once, needs={"x": "input.x"}, options={"mark": str(tmp_path / "m")}
    )
    record, outputs = run(session, of)
    assert (record.state, outputs, node(record, "n").attempts) == (RunState.DONE, {"n": 1}, 2)


def test_equal_inputs_of_a_node_that_may_be_reused_are_computed_once(
    session: PipelineSession, tmp_path: Path
) -> None:
    of = pipeline().node(
        "n", call=dag_steps.traced, needs={"x": "input.x"}, options={"trace": str(tmp_path / "t")}, reuse=True
    )
    for _ in range(3):
        assert run(session, of, 41)[1] == {"n": 41}
    assert len((tmp_path / "t").read_text().split()) == 1


async def test_a_changed_key_runs_its_pipeline(session: PipelineSession) -> None:
    of = pipeline().node("n", call=dag_steps.inc, needs={"x": "input.x"})
    path, seen, bus = Path("p.yaml"), list[Reaction](), EventBus()
    rules = Rules(rules=(Rule(key="sensor/*", when="event.value > 1", pipeline=path, inputs={"x": "event.value"}),))
    async with asyncio.timeout(WAIT_S), EventRunner(session, bus, rules, {path: of}, seen.append).running():
        for value in (1, 5, 5):
            bus.publish("sensor/1", value)
        while not seen:
            await asyncio.sleep(0.01)
    assert [reaction.run.state for reaction in seen if reaction.run] == [RunState.DONE]


def test_a_deadline_and_a_cancellation_end_what_runs(session: PipelineSession) -> None:
    of = pipeline().node("n", call=dag_steps.hangs, needs={"x": "input.x"})
    record, _ = run(session, of, deadline_s=0.5)
    assert (record.state, node(record, "n").state) == (RunState.EXPIRED, NodeState.EXPIRED)
    name = session.submit(of, {"x": 1})
    for seen in session.watch(name):
        if node(seen, "n").state is NodeState.RUNNING:
            break
    session.cancel(name)
    assert session.wait(name, WAIT_S).state is RunState.CANCELLED
    with pytest.raises(NotFoundError, match="no run"):
        session.cancel(name)


def test_a_run_is_cancelled_by_its_store_from_any_process(session: PipelineSession, state: Path) -> None:
    of = pipeline(durable=True).node("n", call=dag_steps.hangs, needs={"x": "input.x"})
    name = session.submit(of, {"x": 1})
    store = RunStore(state_url(state), state / "values")
    assert cancel_run(store, name, None) == "cancelled"
    assert session.wait(name, WAIT_S).reason == store.record(name).reason == "cancelled"
    store.close()


def test_items_that_may_fail_leave_the_others_in_order(session: PipelineSession) -> None:
    of = (
        pipeline()
        .node("list", call=dag_steps.listed, needs={"x": "input.x"})
        .node("each", call=dag_steps.only_even, needs={"x": "list"}, map={"over": "x", "may_fail": 5})
        .node("parts", builtin="join", needs={"even": "each"})
    )
    record, outputs = run(session, of, 7)
    assert (record.state, record.partial) == (RunState.DONE, True)
    assert outputs == {"parts": {"even": [0, 2, 4, 6]}}
    reasons = {item.item: item.reason for item in node(record, "each").each if item.reason}
    assert reasons == {number: f"error: ValueError: {number} is odd" for number in (1, 3, 5)}


def test_a_durable_run_is_kept_and_its_key_is_the_same_for_every_try(session: PipelineSession, state: Path) -> None:
    of = pipeline(durable=True).node("told", call=dag_steps.told, needs={"x": "input.x"})
    name = session.submit(of, {"x": 1})
    session.wait(name, WAIT_S)
    assert session.outputs(name) == {"told": f"{name}/told 1"}
    store = RunStore(state_url(state), state / "values")
    kept = store.record(name)
    assert (kept.state, node(kept, "told").state) == (RunState.DONE, NodeState.DONE)
    store.close()


def test_a_large_result_is_kept_in_the_folder(session: PipelineSession, state: Path) -> None:
    name = session.submit(pipeline(durable=True).node("n", call=dag_steps.large, needs={"x": "input.x"}), {"x": 3})
    assert session.wait(name, WAIT_S).state is RunState.DONE
    store = RunStore(state_url(state), state / "values")
    assert len(store.value(name, "n")) > 2 << 20
    store.close()


def test_a_run_outlives_its_scheduler_and_what_was_done_is_not_run_again(
    session: PipelineSession, state: Path, tmp_path: Path
) -> None:
    import ray

    trace = tmp_path / "trace"
    of = (
        Pipeline(name="p", inputs={"x": "number", "trace": "text"})
        .node("first", call=dag_steps.traced, needs={"x": "input.x", "trace": "input.trace"})
        .node("list", call=dag_steps.listed, needs={"x": "first"})
        .node("each", call=dag_steps.traced, needs={"x": "list", "trace": "input.trace"}, map="x")
        .node("gate", call=dag_steps.until_there, needs={"x": "each", "trace": "input.trace"})
        .node("last", call=dag_steps.traced, needs={"x": "gate", "trace": "input.trace"})
    )
    session.submit(of, {"x": 3, "trace": str(trace)}, run="crashed")
    store = RunStore(state_url(state), state / "values")
    deadline_s = time.monotonic() + WAIT_S
    while node(store.record("crashed"), "gate").state is not NodeState.RUNNING:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    before = trace.read_text().split()
    assert sorted(before) == sorted(["crashed/first", *(f"crashed/each/{item}" for item in range(3))])
    os.kill(ray.get(session.scheduler.pid.remote()), signal.SIGKILL)
    Path(f"{trace}.go").touch()
    assert session.wait("crashed", WAIT_S).state is RunState.DONE
    assert session.outputs("crashed") == {"last": [0, 1, 2]}
    assert trace.read_text().split() == [*before, "crashed/last"]
    assert store.record("crashed").state is RunState.DONE
    store.close()
    # The scheduler that Ray started in its place takes new runs.
    assert run(session, of, trace=str(trace), x=1)[0].state is RunState.DONE


def test_a_scheduler_that_nobody_calls_goes_on_after_a_crash_and_resuming_its_runs_is_no_error(
    session: PipelineSession, tmp_path: Path
) -> None:
    import ray

    from tercet_cloud.dag.actor import Setup, new_scheduler

    of = Pipeline(name="p", inputs={"x": "number", "trace": "text"}).node(
        "gate", call=dag_steps.until_there, needs={"x": "input.x", "trace": "input.trace"}
    )
    database, folder, trace = state_url(tmp_path), tmp_path / "values", tmp_path / "trace"
    scheduler = new_scheduler(Setup(1, session._options.means, database=database, folder=folder, adopts=True))

    def begin(name: str) -> None:
        ray.get(scheduler.prepare.remote("key", of))
        inputs = [[ray.put(3)], [ray.put(str(trace))]]
        ray.get(scheduler.submit.remote(name, "key", ("x", "trace"), *inputs))

    begin("left-alone")
    os.kill(ray.get(scheduler.pid.remote()), signal.SIGKILL)
    Path(f"{trace}.go").touch()
    store = RunStore(database, folder)
    until_s = time.monotonic() + WAIT_S
    while store.record("left-alone").state is not RunState.DONE:
        assert time.monotonic() < until_s
        time.sleep(0.1)
    store.close()
    Path(f"{trace}.go").unlink()
    begin("resumed")
    os.kill(ray.get(scheduler.pid.remote()), signal.SIGKILL)
    # The new one is asked to go on with a run that it takes over by itself meanwhile, and once it has.
    for _ in range(2):
        ray.get(scheduler.resume.remote("resumed"), timeout=WAIT_S)
    Path(f"{trace}.go").touch()
    assert ray.get(scheduler.wait.remote("resumed", WAIT_S)).state is RunState.DONE
    ray.get(scheduler.stop.remote())


async def test_a_run_in_an_event_loop_outlives_its_scheduler_too(
    session: PipelineSession, state: Path, tmp_path: Path
) -> None:
    import ray

    trace = tmp_path / "trace"
    of = (
        Pipeline(name="looped", inputs={"x": "number", "trace": "text"}, events={"done": "last"})
        .node("first", call=dag_steps.traced, needs={"x": "input.x", "trace": "input.trace"})
        .node("gate", call=dag_steps.until_there, needs={"x": "first", "trace": "input.trace"})
        .node("last", call=dag_steps.traced, needs={"x": "gate", "trace": "input.trace"})
    )
    running = asyncio.create_task(session.run(of, {"x": 3, "trace": str(trace)}))
    store = RunStore(state_url(state), state / "values")
    async with asyncio.timeout(WAIT_S):
        while not (found := [one.run for one in store.list(None) if one.pipeline == "looped"]):
            await asyncio.sleep(0.05)
        while node(store.record(found[0]), "gate").state is not NodeState.RUNNING:
            await asyncio.sleep(0.05)
    store.close()
    os.kill(ray.get(session.scheduler.pid.remote()), signal.SIGKILL)
    Path(f"{trace}.go").touch()
    ended = await asyncio.wait_for(running, WAIT_S)
    assert (ended.record.run, ended.record.state) == (found[0], RunState.DONE)
    assert ended.events == {"done": 3}
    assert trace.read_text().split() == [f"{found[0]}/first", f"{found[0]}/last"]
    os.kill(ray.get(session.scheduler.pid.remote()), signal.SIGKILL)
    # One that the dead scheduler never heard of.
    ended = await asyncio.wait_for(session.run(of, {"x": 4, "trace": str(trace)}), WAIT_S)
    assert ended.events == {"done": 4}


def test_an_output_that_leads_nowhere_takes_no_other_with_it(session: PipelineSession) -> None:
    of = pipeline(outputs={"there": "n.a", "nowhere": "n.b", "item": "n.a.c"}).node(
        "n", call=dag_steps.anything, needs={"a": "input.x"}
    )
    name = session.submit(of, {"x": 1})
    assert session.wait(name, WAIT_S).state is RunState.DONE
    values, missing = session.read_outputs(name)
    assert values == {"there": 1}
    assert sorted(missing) == ["item", "nowhere"]
    assert "has no 'b' (there: a)" in str(missing["nowhere"])
    with pytest.raises(InputError, match="has no 'b'"):
        session.outputs(name)


def test_a_kept_value_that_is_gone_is_said_to_be_so_and_takes_no_other_with_it(session: PipelineSession) -> None:
    import ray

    @ray.remote(num_cpus=0)
    def gone() -> None:
        raise NotFoundError("it is missing")

    values, missing = session._values({"lost": (gone.remote(), ()), "there": (ray.put([1]), (0,))})
    assert values == {"there": 1}
    assert isinstance(missing["lost"], NotFoundError)
    assert str(missing["lost"]) == "it is missing"


def test_a_run_has_a_name_that_fits_a_line(session: PipelineSession) -> None:
    of = pipeline().node("n", call=dag_steps.inc, needs={"x": "input.x"})
    for name in ("", "two\nlines", "-x", "a" * 101, "a/b"):
        with pytest.raises(SpecError, match="as its name"):
            session.submit(of, {"x": 1}, run=name)


def test_a_node_runs_on_a_gpu_worker_and_one_that_needs_more_than_there_are_is_refused(
    session: PipelineSession, state: Path
) -> None:
    import ray

    from tercet_cloud.dag.actor import Setup, new_scheduler

    of = pipeline().node("n", call=dag_steps.inc, needs={"x": "input.x"}, resources={"gpus": 1})
    for durable in (False, True):
        with pytest.raises(SpecError, match="node n needs 1 CPUs and 1 GPUs, but there are 2 and 0"):
            session.submit(of.model_copy(update={"durable": durable}), {"x": 1}, run="refused")
    store = RunStore(state_url(state), state / "values")
    assert "refused" not in {record.run for record in store.list(None)}
    store.close()
    scheduler = new_scheduler(Setup(1, session._options.means, gpus=1))
    ray.get(scheduler.prepare.remote("key", of))
    # This cluster has none, so the worker that was asked for never comes: the node waits for it, and says so.
    ray.get(scheduler.submit.remote("waits", "key", ("x",), [ray.put(1)], deadline_s=2.0))
    record = ray.get(scheduler.wait.remote("waits", 20.0))
    assert record.state is RunState.EXPIRED


def test_a_missing_input_is_refused(session: PipelineSession) -> None:
    with pytest.raises(SpecError, match="needs the inputs x"):
        session.submit(pipeline().node("n", call=dag_steps.inc, needs={"x": "input.x"}))


def test_errors_cross_from_the_scheduler_as_they_are() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(OverloadedError("full", retry_after_s=2.0)))
    assert (str(error), error.retry_after_s) == ("full", 2.0)
