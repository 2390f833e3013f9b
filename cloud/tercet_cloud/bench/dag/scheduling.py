"""Makespans, overhead, growth: how close the scheduler comes to what is possible."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from tercet_cloud.bench.dag import steps
from tercet_cloud.bench.dag.figures import Growth, Makespan, Overhead
from tercet_cloud.bench.dag.graphs import chain, layered, least_s, wide
from tercet_cloud.dag.bare_ray import BareTasks
from tercet_cloud.dag.graph import compile_graph
from tercet_cloud.dag.outcomes import Done
from tercet_cloud.dag.ready_queue import Place
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.schedule import Schedule
from tercet_cloud.dag.session import PipelineSession
from tercet_cloud.dag.spec import Pipeline

_RUN_S = 600.0


def run_once(session: PipelineSession, pipeline: Pipeline) -> RunRecord:
    """A run that must be done."""
    name = session.submit(pipeline)
    record = session.wait(name, _RUN_S)
    if record.state.value != "done":
        raise RuntimeError(f"run {name} ended as {record.state.value}: {record.reason}")
    session.forget(name)
    return record


def took_s(record: RunRecord) -> float:
    assert record.started_s is not None
    assert record.ended_s is not None
    return record.ended_s - record.started_s


def measure_makespans(session: PipelineSession, nodes: int, rounds: int) -> list[Makespan]:
    """One line for each kind of work: the median over seeded graphs."""
    found = []
    for work, call in (("sleep", steps.sleep), ("spin", steps.spin)):
        rows = []
        for seed in range(rounds):
            pipeline = layered(f"layered-{work}-{seed}", nodes, call, seed)
            record = run_once(session, pipeline)
            whole_s = took_s(record)
            least = least_s(pipeline, dict.fromkeys(pipeline.nodes, steps.NODE_S), session.workers)
            own = least_s(pipeline, {node.node: node.busy_s for node in record.nodes}, session.workers)
            rows.append((whole_s / least, whole_s, least, whole_s / own))
        rows.sort()
        ratio, whole_s, least, own_ratio = rows[len(rows) // 2]
        found.append(
            Makespan(work=work, nodes=nodes, took_s=whole_s, least_s=least, ratio=ratio, own_ratio=own_ratio)
        )
    return found


def measure_overhead(session: PipelineSession, tasks: int, rounds: int) -> list[Overhead]:
    """Shape by shape, pipelines and bare tasks in turn."""
    bare = BareTasks(steps.nothing)
    bare.wide_s(200)
    short = max(50, tasks // 10)
    shapes: tuple[tuple[str, Pipeline, Callable[[], float], int], ...] = (
        ("wide", wide("wide", tasks, steps.nothing), lambda: bare.wide_s(tasks), tasks),
        ("chain", chain("chain", short, steps.nothing), lambda: bare.chain_s(short), short),
        ("one by one", chain("one-by-one", short, steps.nothing), lambda: bare.one_by_one_s(short), short),
    )
    found = []
    for shape, pipeline, time_bare, count in shapes:
        run_once(session, pipeline)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(took_s(run_once(session, pipeline)) * 1000 / count)
            theirs.append(time_bare() * 1000 / count)
        found.append(Overhead(shape=shape, pipeline_ms=median(ours), bare_ms=median(theirs)))
    return found


def measure_plain_growth(small: int, large: int, rounds: int) -> Growth:
    """Of the scheduler alone, without Ray: every decision, no data."""
    small_us, large_us = (min(_plain_us(nodes, seed) for seed in range(rounds)) for nodes in (small, large))
    return Growth(
        what="scheduler alone", small_nodes=small, small_us=small_us, large_nodes=large, large_us=large_us
    )


def measure_growth(session: PipelineSession, small: int, large: int, rounds: int) -> Growth:
    """Of whole runs on Ray."""
    times: dict[int, list[float]] = {small: [], large: []}
    pipelines = {nodes: layered(f"layered-{nodes}", nodes, steps.nothing, 1) for nodes in (small, large)}
    for _ in range(rounds):
        for nodes, pipeline in pipelines.items():
            times[nodes].append(took_s(run_once(session, pipeline)) * 1e6 / nodes)
    return Growth(
        what="run on Ray",
        small_nodes=small,
        small_us=median(times[small]),
        large_nodes=large,
        large_us=median(times[large]),
    )


def _plain_us(nodes: int, seed: int) -> float:
    graph = compile_graph(layered("plain", nodes, steps.nothing, seed))
    schedule = Schedule({"cloud": Place(4)})
    began_s = time.perf_counter()
    schedule.submit("r", graph, 0.0)
    now_s = 0.0
    while list(schedule.runs):
        for task in schedule.start(now_s):
            schedule.finish(task, Done(), now_s)
        schedule.take_changes()
        now_s += 0.001
    return (time.perf_counter() - began_s) * 1e6 / nodes
