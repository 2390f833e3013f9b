"""The scheduler decides by what it is told, in the right order, within every limit, and always comes to an end."""

from __future__ import annotations

import random

import pytest

from support.dag_graphs import Simulation, graph, random_graph, step
from tercet.errors import NotFoundError, OverloadedError, SpecError
from tercet_cloud.dag.outcomes import (
    LOOK,
    WHOLE,
    Done,
    Failed,
    NodeChanged,
    NodeState,
    Released,
    RunChanged,
    RunState,
    Skipped,
    TakenBack,
    Task,
    Trouble,
)
from tercet_cloud.dag.ready_queue import Place
from tercet_cloud.dag.run_progress import Known
from tercet_cloud.dag.schedule import Limits, Schedule

ERROR = Failed(Trouble.ERROR, "broken")


def schedule(cpus: float = 2, *, ahead: int = 0, limits: Limits | None = None, ageing_s: float = 60.0) -> Schedule:
    return Schedule({"cloud": Place(cpus, ahead=ahead)}, limits, ageing_s=ageing_s)


def names(of: Schedule, tasks: list[Task], *graphs: object) -> list[str]:
    return [f"{task.run}{task.node}" for task in tasks]


def run_states(of: Schedule) -> dict[str, RunState]:
    return {change.run: change.state for change in of.take_changes() if isinstance(change, RunChanged)}


def node_changes(of: Schedule) -> list[tuple[int, int, NodeState]]:
    return [
        (change.node, change.item, change.state) for change in of.take_changes() if isinstance(change, NodeChanged)
    ]


DIAMOND = graph(step("a"), step("b", 0), step("c", 0), step("d", 1, 2))


def test_a_node_starts_the_moment_its_last_input_is_there() -> None:
    of = schedule()
    of.submit("r", DIAMOND, 0)
    (a,) = of.start(0)
    assert of.start(1) == []
    of.finish(a, Done(), 1)
    b, c = of.start(1)
    of.finish(c, Done(), 2)
    assert of.start(2) == []
    of.finish(b, Done(), 3)
    (d,) = of.start(3)
    of.finish(d, Done(), 4)
    assert run_states(of) == {"r": RunState.DONE}
    assert list(of.runs) == []


def test_results_are_let_go_when_the_last_reader_has_ended_and_outputs_never() -> None:
    of = schedule()
    of.submit("r", DIAMOND, 0)
    released: list[tuple[int, int]] = []
    for now in range(10):
        for task in of.start(now):
            of.finish(task, Done(), now)
            released += [(change.node, task.node) for change in of.take_changes() if isinstance(change, Released)]
    assert released == [(0, 2), (1, 3), (2, 3)]


def test_a_pool_is_never_over_its_limit_over_all_runs_and_pipelines() -> None:
    of = schedule(cpus=10)
    for number in range(4):
        loader = step("load", pool="loader", limit=2)
        of.submit(f"r{number}", graph(loader, name=f"p{number}"), 0)
    first = of.start(0)
    assert len(first) == 2
    of.finish(first[0], Done(), 1)
    assert len(of.start(1)) == 1
    assert of.start(2) == []


def test_high_priority_goes_first_and_equal_ones_in_order() -> None:
    of = schedule(cpus=1)
    for run, priority in (("low", 0), ("mid1", 50), ("high", 100), ("mid2", 50)):
        of.submit(run, graph(step("n", priority=priority), name=run), 0)
    order = []
    for now in range(4):
        (task,) = of.start(now)
        order.append(task.run)
        of.finish(task, Done(), now)
    assert order == ["high", "mid1", "mid2", "low"]


def test_a_low_priority_node_is_not_starved_by_a_stream_of_high_ones() -> None:
    of = schedule(cpus=1, ageing_s=10)
    of.submit("low", graph(step("n", priority=0), name="low"), 0)
    for number in range(30):
        of.submit(f"high{number}", graph(step("n", priority=100), name="high"), number)
        (task,) = of.start(number)
        of.finish(task, Done(), number + 1)
        if task.run == "low":
            assert 10 <= number <= 12
            return
    pytest.fail("the low-priority node never ran")


def test_a_large_node_is_not_starved_by_a_stream_of_small_ones() -> None:
    of = schedule(cpus=2)
    of.submit("small0", graph(step("n")), 0)
    (running,) = of.start(0)
    of.submit("large", graph(step("n", cpus=2.0)), 0)
    for number in range(1, 20):
        of.submit(f"small{number}", graph(step("n")), number)
        started = of.start(number)
        of.finish(running, Done(), number)
        started += of.start(number)
        if any(task.run == "large" for task in started):
            return
        running = started[0]
    pytest.fail("the large node never ran")


def test_a_node_that_needs_more_than_there_is_is_refused_at_once() -> None:
    of = schedule(cpus=2)
    with pytest.raises(SpecError, match="node big needs 3 CPUs and 0 GPUs, but there are 2 and 0"):
        of.submit("r", graph(step("big", cpus=3.0)), 0)


def test_a_failed_node_is_tried_again_with_doubling_waits_then_what_needs_it_does_not_run() -> None:
    of = schedule()
    of.submit("r", graph(step("a", retries=2), step("b", 0), step("c")), 0)
    tries = [task for task in of.start(0) if task.node == 0]
    now = 0.0
    for wait_s in (1, 2):
        of.finish(tries[-1], ERROR, now)
        assert of.start(now) == []
        assert of.next_due_s() == now + wait_s
        now += wait_s
        of.pass_time(now)
        tries += of.start(now)
    assert [task.attempt for task in tries] == [1, 2, 3]
    of.take_changes()
    of.finish(tries[-1], ERROR, now)
    assert node_changes(of) == [(0, WHOLE, NodeState.FAILED), (1, WHOLE, NodeState.NOT_RUN)]
    of.finish(Task("r", 2, WHOLE, 1), Done(), now)
    assert run_states(of) == {"r": RunState.FAILED}


def test_an_error_that_a_retry_cannot_mend_is_not_retried() -> None:
    of = schedule()
    of.submit("r", graph(step("a", retries=5)), 0)
    of.finish(of.start(0)[0], Failed(Trouble.ERROR, "bad input", may_retry=False), 0)
    assert run_states(of)["r"] is RunState.FAILED


def test_a_try_that_others_took_down_is_repeated_at_once_and_not_counted() -> None:
    of = schedule()
    of.submit("r", graph(step("a")), 0)
    for attempt in range(1, 5):
        (task,) = of.start(attempt)
        assert task.attempt == attempt
        of.finish(task, Failed(Trouble.WORKER_DIED, "another call", innocent=True), attempt)
        of.pass_time(attempt)
    of.finish(of.start(5)[0], Done(), 6)
    assert run_states(of)["r"] is RunState.DONE


def test_a_node_over_its_time_is_told_of_once_and_its_late_result_is_ignored() -> None:
    of = schedule()
    of.submit("r", graph(step("a", timeout_s=5.0, retries=1)), 0)
    (first,) = of.start(0)
    assert of.next_due_s() == 5
    of.pass_time(5)
    assert of.take_overdue() == [first]
    of.pass_time(5)
    assert of.take_overdue() == []
    assert of.finish(first, Failed(Trouble.TIMEOUT, "no result"), 5)
    assert of.finish(first, Done(), 5.1) is False
    of.pass_time(6)
    (second,) = of.start(6)
    assert of.finish(second, Done(), 7)
    assert run_states(of)["r"] is RunState.DONE


def test_a_try_that_began_later_than_it_was_given_out_is_looked_at_again() -> None:
    of = schedule()
    of.submit("r", graph(step("a", timeout_s=5.0)), 0)
    (task,) = of.start(0)
    of.pass_time(5)
    assert of.take_overdue() == [task]
    of.look_again(task, 8)
    of.pass_time(7.9)
    assert of.take_overdue() == []
    of.pass_time(8)
    assert of.take_overdue() == [task]


def test_a_try_that_never_ran_is_repeated_at_once_as_often_as_it_takes_and_costs_no_retry() -> None:
    of = schedule()
    of.submit("r", graph(step("a", retries=1)), 0)
    for now in range(50):
        (task,) = of.start(now)
        of.finish(task, TakenBack(), now)
    for now in (50, 52):
        of.pass_time(now)
        (task,) = of.start(now)
        of.finish(task, ERROR, now)
    assert run_states(of)["r"] is RunState.FAILED
    assert task.attempt == 52


def test_runs_that_ended_leave_no_alarms_and_those_under_way_keep_theirs() -> None:
    of = schedule()
    one = graph(step("a", timeout_s=3600.0), deadline_s=7200.0)
    of.submit("first", graph(step("a", timeout_s=10_000.0, cpus=1.0)), 0)
    (first,) = of.start(0)
    for number in range(20_000):
        of.submit(f"r{number}", one, number * 1e-3)
        for task in of.start(number * 1e-3):
            of.finish(task, Done(took_s=0.0005), number * 1e-3)
    assert len(of._alarms) <= 1024
    of.pass_time(10_000)
    assert of.take_overdue() == [first]


def test_runs_that_were_given_up_while_they_waited_are_let_go() -> None:
    of = schedule()
    one = graph(step("a"), name="narrow", max_runs=1)
    of.submit("holds", one, 0)
    of.start(0)
    for number in range(5_000):
        of.submit(f"r{number}", one, 1)
        of.start(1)
        of.cancel(f"r{number}", 1)
    of.submit("last", one, 2)
    assert len(of._queue) < 100
    of.finish(Task("holds", 0, WHOLE, 1), Done(), 3)
    assert [task.run for task in of.start(3)] == ["last"]


def test_pools_that_nobody_uses_are_let_go_and_those_in_use_keep_their_limit() -> None:
    of = schedule(cpus=3)
    of.submit("holds", graph(step("a", pool="kept", limit=1)), 0)
    assert len(of.start(0)) == 1
    of.submit("waits", graph(step("a", pool="kept", limit=1)), 0)
    for number in range(5_000):
        of.submit(f"r{number}", graph(step("a", pool=f"p{number}", limit=1)), 1)
        for task in of.start(1):
            of.finish(task, Done(), 1)
    assert len(of._ready._lanes) < 600
    assert of.start(2) == []
    of.finish(Task("holds", 0, WHOLE, 1), Done(), 3)
    assert [task.run for task in of.start(3)] == ["waits"]


def test_a_deadline_ends_what_runs_and_what_waits() -> None:
    of = schedule()
    of.submit("r", graph(step("a"), step("b", 0), deadline_s=4.0), 0)
    (task,) = of.start(1)
    assert of.time_left_s(task, 1) == 3
    of.pass_time(4)
    assert of.take_stops() == [task]
    assert run_states(of)["r"] is RunState.EXPIRED


def test_a_retry_that_could_not_begin_before_the_deadline_is_not_waited_for() -> None:
    of = schedule()
    of.submit("r", graph(step("a", retries=1, retry_wait_s=10.0), deadline_s=4.0), 0)
    of.finish(of.start(0)[0], ERROR, 1)
    assert run_states(of)["r"] is RunState.FAILED


def test_what_was_skipped_skips_what_needs_it_and_not_what_can_do_without() -> None:
    of = schedule()
    steps = (step("a"), step("b", 0), step("c", upstream=((0, False),)), step("d", 1, 2))
    of.submit("r", graph(*steps), 0)
    of.finish(of.start(0)[0], Skipped(), 1)
    (task,) = of.start(1)
    assert task.node == 2
    of.finish(task, Done(), 2)
    states = {node: state for node, _, state in node_changes(of)}
    assert states[1] is states[3] is NodeState.SKIPPED


def test_cancelling_a_branch_leaves_the_others() -> None:
    of = schedule()
    of.submit("r", graph(step("a"), step("b", 0), step("c"), step("d", 2)), 0)
    a, c = of.start(0)
    of.cancel("r", 1, node="a")
    assert of.take_stops() == [a]
    of.finish(c, Done(), 2)
    of.finish(of.start(2)[0], Done(), 3)
    changes = of.take_changes()
    last = [change for change in changes if isinstance(change, RunChanged)][-1]
    assert (last.state, last.partial) == (RunState.DONE, True)
    states = {change.node: change.state for change in changes if isinstance(change, NodeChanged)}
    assert (states[0], states[1], states[3]) == (NodeState.CANCELLED, NodeState.NOT_RUN, NodeState.DONE)


def test_cancelling_a_run_stops_it_and_frees_its_room() -> None:
    of = schedule(cpus=1)
    of.submit("r", DIAMOND, 0)
    of.submit("next", DIAMOND, 0)
    (task,) = of.start(0)
    of.cancel("r", 1)
    assert of.take_stops() == [task]
    assert run_states(of)["r"] is RunState.CANCELLED
    assert [task.run for task in of.start(1)] == ["next"]
    with pytest.raises(NotFoundError, match="no run r"):
        of.cancel("r", 2)


def test_items_run_within_limits_and_the_node_is_done_when_all_are() -> None:
    of = schedule(cpus=3)
    of.submit("r", graph(step("list"), step("each", 0, maps=True), step("after", 1)), 0)
    of.finish(of.start(0)[0], Done(), 0)
    (look,) = of.start(0)
    assert look.item == LOOK
    of.finish(look, Done(length=5), 0)
    items = of.start(0)
    assert [task.item for task in items] == [0, 1, 2]
    for task in items:
        of.finish(task, Done(), 1)
    items = of.start(1)
    assert [task.item for task in items] == [3, 4]
    of.finish(items[0], Done(), 2)
    assert of.start(2) == []
    of.finish(items[1], Done(), 2)
    assert [task.node for task in of.start(2)] == [2]


def test_an_empty_list_is_done_at_once() -> None:
    of = schedule()
    of.submit("r", graph(step("each", maps=True), step("after", 0)), 0)
    of.finish(of.start(0)[0], Done(length=0), 0)
    assert [task.node for task in of.start(0)] == [1]


def test_items_that_may_fail_leave_a_partial_result_and_one_more_fails_the_node() -> None:
    for may_fail, wanted in ((1, RunState.DONE), (0, RunState.FAILED)):
        of = schedule(cpus=3)
        of.submit("r", graph(step("each", maps=True, may_fail=may_fail)), 0)
        of.finish(of.start(0)[0], Done(length=3), 0)
        first, *others = of.start(0)
        of.finish(first, ERROR, 1)
        for task in others:
            of.finish(task, Done(), 2)
        last = [change for change in of.take_changes() if isinstance(change, RunChanged)][-1]
        assert (last.state, last.partial) == (wanted, wanted is RunState.DONE)


def test_a_long_list_does_not_fill_the_queue() -> None:
    of = schedule(cpus=1)
    of.submit("r", graph(step("each", maps=True)), 0)
    of.finish(of.start(0)[0], Done(length=1_000_000), 0)
    assert of.waiting < 1000
    (task,) = of.start(0)
    of.finish(task, Done(), 1)
    assert of.waiting < 1000


def test_runs_wait_in_line_and_beyond_the_line_they_are_refused() -> None:
    of = schedule(limits=Limits(active_runs=1, queued_runs=2))
    one = graph(step("a"))
    for run in ("r1", "r2", "r3"):
        of.submit(run, one, 0)
    with pytest.raises(OverloadedError, match="2 runs wait already"):
        of.submit("r4", one, 0)
    assert [task.run for task in of.start(0)] == ["r1"]
    of.cancel("r2", 0)
    of.finish(Task("r1", 0, WHOLE, 1), Done(), 1)
    assert [task.run for task in [*of.start(1), *of.start(1)]] == ["r3"]


def test_a_pipeline_at_its_own_limit_lets_others_by() -> None:
    of = schedule()
    narrow, other = graph(step("a"), name="narrow", max_runs=1), graph(step("a"), name="other")
    for run, pipeline in (("n1", narrow), ("n2", narrow), ("o", other)):
        of.submit(run, pipeline, 0)
    first, second = of.start(0)
    assert {first.run, second.run} == {"n1", "o"}
    of.finish(Task("n1", 0, WHOLE, 1), Done(), 1)
    of.start(1)
    assert [task.run for task in of.in_flight] == ["o", "n2"]


def test_short_nodes_are_given_ahead_and_a_higher_priority_goes_further_ahead() -> None:
    of = schedule(cpus=1, ahead=1)
    low, high = graph(step("n", priority=0), name="low"), graph(step("n", priority=100), name="high")
    for name, one in (("low", low), ("high", high)):
        of.submit(f"{name}0", one, 0)
        of.finish(of.start(0)[0], Done(took_s=0.01), 0)
    for number in range(1, 5):
        of.submit(f"low{number}", low, 1)
    assert [task.run for task in of.start(1)] == ["low1", "low2"]
    of.submit("high1", high, 2)
    of.submit("high2", high, 2)
    assert [task.run for task in of.start(2)] == ["high1"]


def test_what_ended_before_a_crash_is_not_run_again() -> None:
    of = schedule(cpus=9)
    steps = (step("a"), step("b", 0, maps=True), step("c", 0, maps=True), step("d", 1, 2), step("e"))
    known = {
        0: Known(NodeState.DONE),
        1: Known(NodeState.DONE, items=2),
        2: Known(NodeState.RUNNING, items=4, done_items=frozenset({0, 2})),
    }
    of.submit("r", graph(*steps), 0, known=known)
    assert sorted((task.node, task.item) for task in of.start(0)) == [(2, 1), (2, 3), (4, WHOLE)]
    for task in list(of.in_flight):
        of.finish(task, Done(), 1)
    assert [task.node for task in of.start(1)] == [3]


def test_a_run_of_which_all_ended_before_a_crash_is_done() -> None:
    of = schedule()
    of.submit("r", DIAMOND, 0, known={node: Known(NodeState.DONE) for node in range(4)})
    assert run_states(of)["r"] is RunState.DONE


def test_what_failed_or_was_given_up_before_a_crash_stays_so() -> None:
    of = schedule(cpus=9)
    steps = (step("a"), step("b", 0), step("list", maps=True), step("c", 2), step("gone"), step("d"))
    known = {
        0: Known(NodeState.FAILED),
        2: Known(NodeState.FAILED, items=2, done_items=frozenset({0}), failed_items=frozenset({1})),
        3: Known(NodeState.NOT_RUN),
        4: Known(NodeState.CANCELLED),
    }
    of.submit("r", graph(*steps), 0, known=known)
    (last,) = of.start(0)
    assert last.node == 5
    of.finish(last, Done(), 1)
    changes = of.take_changes()
    nodes = {change.node: change.state for change in changes if isinstance(change, NodeChanged)}
    assert (nodes[1], 0 in nodes, 3 in nodes) == (NodeState.NOT_RUN, False, False)
    ended = [change for change in changes if isinstance(change, RunChanged)][-1]
    assert (ended.state, ended.reason, ended.partial) == (RunState.FAILED, "failed: a, list", True)


def test_a_list_with_more_failures_than_may_be_has_failed_though_the_crash_came_before_it_did() -> None:
    of = schedule()
    known = {0: Known(NodeState.RUNNING, items=2, failed_items=frozenset({1}))}
    of.submit("r", graph(step("list", maps=True)), 0, known=known)
    assert of.start(0) == []
    assert run_states(of) == {"r": RunState.FAILED}


def test_a_run_that_would_be_refused_is_known_beforehand() -> None:
    of = schedule(limits=Limits(active_runs=1, queued_runs=2))
    of.submit("a", DIAMOND, 0)
    with pytest.raises(SpecError, match="a run a already"):
        of.check("a", DIAMOND)
    with pytest.raises(SpecError, match="needs 8 CPUs"):
        of.check("b", graph(step("large", cpus=8)))
    assert of.room == 2
    of.check("b", DIAMOND, besides=1)
    with pytest.raises(OverloadedError):
        of.check("b", DIAMOND, besides=2)


def test_a_run_that_cannot_go_on_has_failed_with_the_reason() -> None:
    of = schedule()
    of.submit("r", DIAMOND, 0)
    (a,) = of.start(0)
    of.fail("r", 1, "it cannot be kept")
    changes = of.take_changes()
    ended = changes[-1]
    assert isinstance(ended, RunChanged)
    assert (ended.state, ended.reason) == (RunState.FAILED, "it cannot be kept")
    assert of.take_stops() == [a]
    with pytest.raises(NotFoundError):
        of.fail("r", 2, "again")


def test_a_lost_worker_makes_room_smaller_until_it_is_back() -> None:
    of = schedule(cpus=2)
    for run in "abc":
        of.submit(run, graph(step("n")), 0)
    of.resize("cloud", 1)
    assert len(of.start(0)) == 1
    of.resize("cloud", 2)
    assert len(of.start(1)) == 1


@pytest.mark.parametrize("seed", range(120))
def test_random_runs_keep_every_rule_and_end(seed: int) -> None:
    generator = random.Random(seed)
    cpus = generator.choice([2, 3, 5])
    simulation = Simulation(
        Schedule({"cloud": Place(cpus)}), generator, cpus, trouble=generator.choice([0.0, 0.1, 0.3])
    )
    for number in range(generator.randrange(1, 6)):
        deadline_s = generator.choice([None, None, 20.0])
        of = random_graph(generator, f"p{generator.randrange(2)}", generator.randrange(1, 15))
        simulation.submit(f"r{number}", of, deadline_s=deadline_s)
        if generator.random() < 0.3:
            simulation.go(until_s=simulation.now_s + 2)
        if generator.random() < 0.1 and f"r{number}" in simulation.schedule.runs:
            simulation.schedule.cancel(f"r{number}", simulation.now_s)
            simulation._stop()
    simulation.go()
    assert list(simulation.schedule.runs) == []
    assert list(simulation.schedule.in_flight) == []
    assert all(state.ended for state in simulation.runs.values())
    place = simulation.schedule.places["cloud"]
    assert (place.used_cpus, place.by_priority) == (0, {})
    for (run, node), state in simulation.states.items():
        assert state.ended, (run, node)


def test_without_trouble_every_node_runs_exactly_once() -> None:
    generator = random.Random(7)
    simulation = Simulation(Schedule({"cloud": Place(3)}), generator, 3, trouble=0.0)
    for number in range(4):
        simulation.submit(f"r{number}", random_graph(generator, "p", 40))
    simulation.go()
    assert set(simulation.runs.values()) == {RunState.DONE}
    assert len({task for _, task in simulation.started}) == len(simulation.started)
    assert all(task.attempt == 1 for _, task in simulation.started)


def test_work_grows_with_nodes_and_not_with_their_square() -> None:
    """Counted, not timed: what the heaps are asked to do."""

    def operations(nodes: int) -> int:
        of = schedule(cpus=4)
        of.submit(
            "r", graph(*(step(f"n{number}", *range(max(0, number - 2), number)) for number in range(nodes))), 0
        )
        pushed = 0
        now = 0
        while list(of.runs):
            tasks = of.start(now)
            pushed += len(tasks)
            for task in tasks:
                of.finish(task, Done(), now)
            now += 1
        return pushed

    assert operations(2000) == 2000
