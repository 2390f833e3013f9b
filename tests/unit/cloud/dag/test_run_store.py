"""Runs outlive the processes that run them, and only one process at a time runs each."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tercet.errors import DeadlineError, IntegrityError, NotFoundError, SpecError
from tercet_cloud.dag import cancelling
from tercet_cloud.dag.cancelling import cancel_run
from tercet_cloud.dag.kept_values import ValueFolder
from tercet_cloud.dag.outcomes import WHOLE, NodeState, RunState
from tercet_cloud.dag.run_lease import LEASE_S, LeaseWatch
from tercet_cloud.dag.run_progress import Known
from tercet_cloud.dag.run_store import ALL, Batch, RunStore, state_url
from tercet_cloud.dag.spec import Pipeline

PIPELINE = (
    Pipeline(name="p")
    .node("list", call="builtins:list")
    .node("each", call="builtins:abs", needs={"x": "list"}, map="x")
    .node("after", call="builtins:abs", needs={"x": "each"})
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    held = RunStore(state_url(tmp_path), tmp_path / "values")
    yield held
    held.close()


def add(store: RunStore, run: str = "r", owner: str = "me", state: RunState = RunState.RUNNING) -> None:
    row = {
        "run": run,
        "pipeline": "p",
        "spec": PIPELINE.model_dump_json(),
        "state": state.value,
        "submitted_s": 1.0,
    }
    store.add(row, [value_row(run, "input.x")], owner)


def value_row(run: str, source: str, item: int = WHOLE, data: bytes = b"1") -> dict[str, object]:
    return {"run": run, "source": source, "item": item, "data": data, "address": ""}


def node_row(node: str, state: NodeState, *, run: str = "r", items: int | None = None) -> dict[str, object]:
    return {
        "run": run, "node": node, "state": state.value, "attempts": 1, "started_s": 1.0, "ended_s": 2.0,
        "reason": "", "items": items, "troubles": "[]", "log": "", "busy_s": 0.5,
    }  # fmt: skip


def item_row(item: int, state: NodeState, *, run: str = "r") -> dict[str, object]:
    return {
        "run": run, "node": "each", "item": item, "state": state.value, "attempts": 1, "started_s": 1.0,
        "ended_s": 2.0, "reason": "",
    }  # fmt: skip


def half_done(store: RunStore) -> None:
    store.write(
        Batch(
            nodes=[node_row("list", NodeState.DONE), node_row("each", NodeState.RUNNING, items=3)],
            items=[item_row(0, NodeState.DONE), item_row(1, NodeState.RUNNING)],
            values=[value_row("r", "list"), value_row("r", "each", 0, b"item")],
        ),
        "me",
    )


def test_a_run_goes_on_with_what_was_done_and_kept(store: RunStore) -> None:
    add(store)
    half_done(store)
    (unfinished,) = store.claim(store.leases(), "other")
    assert unfinished.pipeline == PIPELINE
    assert unfinished.known[0].state is NodeState.DONE
    each = unfinished.known[1]
    assert (each.state, each.items, each.done_items) == (NodeState.RUNNING, 3, {0})
    assert 2 not in unfinished.known
    assert store.value("r", "each", 0) == b"item"


def test_a_node_that_is_done_but_whose_result_was_not_kept_is_run_again(store: RunStore) -> None:
    add(store)
    store.write(Batch(nodes=[node_row("list", NodeState.DONE)]), "me")
    (unfinished,) = store.claim(store.leases(), "other")
    assert unfinished.known == {}


def test_a_run_is_taken_over_once_and_not_if_its_owner_gave_a_sign_of_life(store: RunStore) -> None:
    add(store)
    seen = store.leases()
    store.renew(["r"], "me")
    assert store.claim(seen, "other") == []
    seen = store.leases()
    assert [one.record.run for one in store.claim(seen, "other")] == ["r"]
    assert store.claim(seen, "third") == []


def test_a_beat_that_stands_still_is_over_and_one_that_was_given_up_at_once(store: RunStore) -> None:
    add(store)
    watch = LeaseWatch()
    assert watch.free(store.leases(), 0.0) == []
    store.renew(["r"], "me")
    for at_s in range(1, int(LEASE_S) + 1):
        assert watch.free(store.leases(), at_s) == []
    assert watch.free(store.leases(), LEASE_S + 0.9) == []
    assert watch.free(store.leases(), LEASE_S + 1) == store.leases()
    store.release("me")
    assert LeaseWatch().free(store.leases(), 0.0) == store.leases()


def test_time_in_which_nobody_could_look_is_not_counted(store: RunStore) -> None:
    """The database was away for who looks and for who beats."""
    add(store)
    watch = LeaseWatch()
    assert watch.free(store.leases(), 0.0) == []
    assert watch.free(store.leases(), 60.0) == []
    assert watch.free(store.leases(), 63.0) == []
    store.renew(["r"], "me")
    assert watch.free(store.leases(), 66.0) == []


def test_an_owner_that_was_only_slow_writes_nothing_afterwards(store: RunStore) -> None:
    add(store)
    store.release("me")
    store.claim(store.leases(), "other")
    lost = store.write(Batch(nodes=[node_row("list", NodeState.FAILED)]), "me")
    assert lost == ["r"]
    assert store.record("r").nodes[0].state is NodeState.WAITING
    assert store.renew(["r"], "me") == (["r"], {})
    assert store.renew(["r"], "other") == ([], {})


def test_whoever_works_on_a_run_hears_what_is_to_be_given_up_until_it_is(store: RunStore) -> None:
    add(store)
    store.ask_cancel("r", "each")
    store.ask_cancel("r", "after")
    for _ in range(2):
        assert store.renew(["r"], "me") == ([], {"r": ["after", "each"]})
    store.clear_cancels([("r", "each")], "somebody else")
    store.clear_cancels([("r", "after")], "me")
    assert store.renew(["r"], "me") == ([], {"r": ["each"]})
    assert (store.heard_cancel("r", "after")[0], store.heard_cancel("r", "each")[0]) == (True, False)
    with pytest.raises(NotFoundError, match="no node nobody"):
        store.ask_cancel("r", "nobody")


def test_a_wish_for_a_node_does_not_take_the_place_of_one_for_the_run(store: RunStore) -> None:
    add(store)
    store.ask_cancel("r", None)
    store.ask_cancel("r", "each")
    assert store.renew(["r"], "me") == ([], {"r": [ALL]})
    store.clear_cancels([("r", ALL)], "me")
    assert store.renew(["r"], "me") == ([], {})


def test_a_wish_for_a_node_of_a_run_that_waits_stays_until_it_begins(store: RunStore) -> None:
    add(store, state=RunState.QUEUED)
    assert cancel_run(store, "r", "each") == "each and what needs it is given up when the run begins"
    assert store.renew(["r"], "me") == ([], {"r": ["each"]})


def test_that_nobody_answered_is_an_error(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store)
    monkeypatch.setattr(cancelling, "LEASE_S", 0.05)
    with pytest.raises(DeadlineError, match="nobody has answered"):
        cancel_run(store, "r", None)


def test_a_run_that_nobody_works_on_is_cancelled_by_who_asks(store: RunStore) -> None:
    add(store)
    store.release("me")
    assert cancel_run(store, "r", None) == "cancelled; nobody worked on it"
    assert store.record("r").state is RunState.CANCELLED
    with pytest.raises(SpecError, match="ended already"):
        store.ask_cancel("r", None)


def test_what_was_cancelled_by_who_asked_is_closed_to_its_slow_owner(store: RunStore) -> None:
    add(store)
    half_done(store)
    (lease,) = store.leases()
    assert store.cancel_unowned(lease)
    assert store.write(Batch(runs=[{"run": "r", "state": RunState.DONE.value}]), "me") == ["r"]
    assert store.renew(["r"], "me")[0] == ["r"]
    record = store.record("r")
    assert record.state is RunState.CANCELLED
    assert record.ended_s is not None
    states = [node.state for node in record.nodes]
    assert states == [NodeState.DONE, NodeState.CANCELLED, NodeState.CANCELLED]


def test_a_retry_keeps_what_succeeded_and_runs_the_rest(store: RunStore) -> None:
    add(store)
    rows = [
        node_row("list", NodeState.DONE),
        node_row("each", NodeState.FAILED, items=2),
        node_row("after", NodeState.NOT_RUN),
    ]
    store.write(
        Batch(
            runs=[{"run": "r", "state": RunState.FAILED.value}],
            nodes=rows,
            items=[item_row(0, NodeState.DONE), item_row(1, NodeState.FAILED)],
            values=[value_row("r", "list"), value_row("r", "each", 0)],
        ),
        "me",
    )
    store.reopen("r")
    (unfinished,) = store.claim(store.leases(), "other")
    assert set(unfinished.known) == {0, 1}
    assert unfinished.known[1].done_items == {0}
    store.reopen("r")
    assert store.leases()[0].owner == "other"


@pytest.mark.parametrize("state", [NodeState.CANCELLED, NodeState.EXPIRED])
def test_a_retry_keeps_the_items_of_a_list_that_was_given_up(store: RunStore, state: NodeState) -> None:
    add(store)
    store.write(
        Batch(
            runs=[{"run": "r", "state": state.value}],
            nodes=[node_row("list", NodeState.DONE), node_row("each", state, items=3), node_row("after", state)],
            items=[item_row(0, NodeState.DONE), item_row(1, NodeState.RUNNING)],
            values=[value_row("r", "list"), value_row("r", "each", 0)],
        ),
        "me",
    )
    store.reopen("r")
    (unfinished,) = store.claim(store.leases(), "other")
    assert unfinished.known[1] == Known(NodeState.RUNNING, 3, frozenset({0}))
    assert 2 not in unfinished.known


@pytest.mark.parametrize("state", [NodeState.FAILED, NodeState.CANCELLED, NodeState.EXPIRED])
def test_whatever_a_node_came_to_it_is_not_run_again_after_a_crash(store: RunStore, state: NodeState) -> None:
    add(store)
    rows = [node_row("list", NodeState.DONE), node_row("each", state, items=2), node_row("after", state)]
    items = [item_row(0, NodeState.DONE), item_row(1, NodeState.FAILED)]
    values = [value_row("r", "list"), value_row("r", "each", 0)]
    store.write(Batch(nodes=rows, items=items, values=values), "me")
    (unfinished,) = store.claim(store.leases(), "other")
    assert unfinished.known[1] == Known(state, 2, frozenset({0}), frozenset({1}))
    assert unfinished.known[2] == Known(state)


def test_a_run_that_cannot_be_read_has_failed_and_hinders_no_other(store: RunStore) -> None:
    add(store, "bad")
    add(store, "good")
    store.write(Batch(runs=[{"run": "bad", "spec": '{"name": "p", "nodes": {"n": {"builtin": "gone"}}}'}]), "me")
    store.release("me")
    assert [one.record.run for one in store.claim(store.leases(), "other")] == ["good"]
    bad = next(record for record in store.list() if record.run == "bad")
    assert bad.state is RunState.FAILED
    assert "nodes.n.builtin" in bad.reason
    assert "\n" not in bad.reason
    with pytest.raises(SpecError, match="run it anew"):
        store.record("bad")


def test_loading_a_run_costs_by_its_size_and_not_by_its_square(store: RunStore) -> None:
    def instructions(run: str, count: int) -> int:
        pipeline = Pipeline(name="p").with_nodes(
            {f"n{number}": {"call": "builtins:list"} for number in range(count)}
        )
        row = {"run": run, "pipeline": "p", "spec": pipeline.model_dump_json(), "state": "running"}
        store.add({**row, "submitted_s": 1.0}, [], "me")
        rows = [node_row(name, NodeState.DONE, run=run) for name in pipeline.nodes]
        store.write(Batch(nodes=rows, values=[value_row(run, name) for name in pipeline.nodes]), "me")
        with counted_instructions("tercet_cloud/dag") as counted:
            (unfinished,) = store.claim(store.leases(run), "other")
            assert all(unfinished.record.node(name) is not None for name in pipeline.nodes)
        assert len(unfinished.known) == count
        return counted.total()

    # Eight times as many: a square would take 64 times as long.
    assert instructions("large", 800) < 12 * instructions("small", 100)


@contextlib.contextmanager
def counted_instructions(part: str) -> Iterator[Counter[str]]:
    """Of functions in files below `part`: what they cost, whatever else the machine does."""
    counted: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if part not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        counted[frame.f_code.co_filename] += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield counted
    finally:
        sys.settrace(before)


def test_a_retry_of_a_partial_run_runs_the_failed_items_and_what_read_them(store: RunStore) -> None:
    add(store)
    rows = [
        node_row("list", NodeState.DONE),
        node_row("each", NodeState.DONE, items=2),
        node_row("after", NodeState.DONE),
    ]
    store.write(
        Batch(
            runs=[{"run": "r", "state": RunState.DONE.value, "partial": True}],
            nodes=rows,
            items=[item_row(0, NodeState.DONE), item_row(1, NodeState.FAILED)],
            values=[value_row("r", "list"), value_row("r", "each", 0), value_row("r", "after")],
        ),
        "me",
    )
    store.reopen("r")
    (unfinished,) = store.claim(store.leases(), "other")
    assert set(unfinished.known) == {0, 1}
    assert unfinished.known[1].state is NodeState.RUNNING
    assert (unfinished.known[1].done_items, unfinished.known[1].failed_items) == ({0}, frozenset())


def test_a_run_that_is_done_has_nothing_to_retry(store: RunStore) -> None:
    add(store, state=RunState.DONE)
    with pytest.raises(SpecError, match="nothing to run again"):
        store.reopen("r")


def test_runs_are_listed_newest_first_and_forgotten_whole_once_they_have_ended(store: RunStore) -> None:
    add(store, "a")
    add(store, "b")
    store.write(Batch(runs=[{"run": "b", "submitted_s": 9.0}]), "me")
    with pytest.raises(SpecError, match="b is running: only a run that has ended"):
        store.remove("b")
    store.write(Batch(runs=[{"run": "b", "state": RunState.DONE.value, "ended_s": 10.0}]), "me")
    assert (store.ended_before(10.0), store.ended_before(10.1)) == ([], ["b"])
    assert [record.run for record in store.list()] == ["b", "a"]
    store.remove("b")
    assert [record.run for record in store.list()] == ["a"]
    with pytest.raises(NotFoundError, match="there is no run b"):
        store.record("b")


def test_large_results_go_when_no_run_has_them_and_they_are_not_new(store: RunStore) -> None:
    shared, own = store.folder.put(b"of both"), store.folder.put(b"of one")
    for run, addresses in (("a", [shared, own]), ("b", [shared])):
        add(store, run)
        rows = [{**value_row(run, str(n)), "data": None, "address": one} for n, one in enumerate(addresses)]
        store.write(Batch(runs=[{"run": run, "state": RunState.DONE.value}], values=rows), "me")
    store.remove("a")
    assert store.sweep() == 0
    assert store.sweep(untouched_s=0.0) == 1
    assert store.value("b", "0") == b"of both"
    with pytest.raises(NotFoundError):
        store.folder.get(own)


def test_large_results_lie_in_the_folder_by_content_and_an_altered_one_is_refused(tmp_path: Path) -> None:
    folder = ValueFolder(tmp_path)
    address = folder.put(b"large")
    assert folder.put(b"large") == address
    assert folder.get(address) == b"large"
    (tmp_path / address[:2] / address).write_bytes(b"other")
    with pytest.raises(IntegrityError, match="run the pipeline anew"):
        folder.get(address)
