"""Pipelines and runs in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tercet.errors import NotFoundError
from tercet.printable import printable
from tercet_cloud.dag.graph import place_of
from tercet_cloud.dag.outcomes import NodeState, RunState
from tercet_cloud.dag.records import NodeRecord, RunRecord
from tercet_cloud.dag.spec import PRIORITIES, Pipeline
from tercet_cloud.dag.time_words import time_words

_COLOURS = {
    NodeState.RUNNING: "cyan",
    NodeState.DONE: "green",
    NodeState.FAILED: "red",
    NodeState.EXPIRED: "red",
    NodeState.CANCELLED: "yellow",
    NodeState.NOT_RUN: "yellow",
    NodeState.SKIPPED: "dim",
}
_RUN_COLOURS = {RunState.DONE: "green", RunState.FAILED: "red", RunState.EXPIRED: "red", RunState.RUNNING: "cyan"}
_REASON_CHARS = 100
# More rows than a terminal has say nothing; what is of interest comes first.
_ROWS = 40


def describe_pipeline(pipeline: Pipeline) -> RenderableType:
    table = Table("node", "runs", "where", "needs", "at once", "priority", title=f"pipeline {pipeline.name}")
    words = {value: name for name, value in PRIORITIES.items()}
    for name, node in pipeline.nodes.items():
        place = place_of(node.tier, node.at, split=node.deployment is not None)
        priority = pipeline.priority_of(node)
        over = f" × each {', '.join(node.map.over)}" if node.map else ""
        table.add_row(
            name,
            escape(f"{node.kind} {node.target}{over}"),
            place,
            ", ".join(node.upstream()) or ", ".join(node.needs.values()),
            str(node.max_concurrency or ""),
            words.get(priority, str(priority)),
        )
    return table


def describe_runs(records: Sequence[RunRecord]) -> RenderableType:
    table = Table("run", "pipeline", "state", "submitted", "took", "reason")
    for record in records:
        table.add_row(
            escape(record.run),
            record.pipeline,
            _run_state(record),
            _date(record.submitted_s),
            _span(record.started_s, record.ended_s),
            escape(printable(record.reason, _REASON_CHARS)),
        )
    return table


def describe_run(record: RunRecord) -> RenderableType:
    """One run: a row for every node; of many, those that run or went wrong first."""
    table = Table("node", "where", "state", "items", "tries", "took", "why")
    rows = list(record.nodes)
    if len(rows) > _ROWS:
        rows = sorted(rows, key=lambda node: _INTEREST.index(node.state))[:_ROWS]
    for node in rows:
        table.add_row(
            node.node,
            node.place,
            Text(node.state.value, style=_COLOURS.get(node.state, "")),
            "" if node.items is None else f"{node.ended_items}/{node.items}",
            str(node.attempts or ""),
            _span(node.started_s, node.ended_s),
            escape(_why(node)),
        )
    counts = ", ".join(f"{count} {state.value}" for state, count in record.counts().items())
    left = f"; {len(record.nodes) - len(rows)} more nodes" if len(record.nodes) > len(rows) else ""
    head = Text.assemble(
        f"run {record.run}: ", _run_state(record), f"  {_span(record.started_s, record.ended_s)}  {counts}{left}"
    )
    return Group(head, table)


_INTEREST = (
    NodeState.FAILED,
    NodeState.EXPIRED,
    NodeState.RUNNING,
    NodeState.CANCELLED,
    NodeState.NOT_RUN,
    NodeState.READY,
    NodeState.WAITING,
    NodeState.SKIPPED,
    NodeState.DONE,
)


def log_lines(record: RunRecord, node: str | None = None) -> Iterator[str]:
    """Node by node in the order they began: start, troubles, what was printed, end.

    NotFoundError if there is no such node.
    """
    if node is not None and record.node(node) is None:
        known = ", ".join(one.node for one in record.nodes[:_ROWS])
        raise NotFoundError(f"run {record.run} has no node {printable(node, _REASON_CHARS)} (there: {known})")
    began = sorted(record.nodes, key=lambda one: one.started_s or float("inf"))
    for one in began:
        if node is not None and one.node != node:
            continue
        if one.started_s is not None:
            yield f"{_clock(one.started_s)} {one.node}: began on {one.place}"
        for trouble in one.troubles:
            yield f"{' ' * 12} {one.node}: {printable(trouble)}"
        for line in one.log.splitlines():
            yield f"{' ' * 12} {one.node} | {printable(line)}"
        if one.state.ended:
            took = f" after {_span(one.started_s, one.ended_s)}" if one.started_s is not None else ""
            why = f": {printable(one.reason)}" if one.reason else ""
            yield f"{_clock(one.ended_s or record.ended_s or 0)} {one.node}: {one.state.value}{took}{why}"


def _why(node: NodeRecord) -> str:
    words = node.reason or (node.troubles[-1] if node.troubles else "")
    return printable(words, _REASON_CHARS)


def _run_state(record: RunRecord) -> Text:
    words = f"{record.state.value}, partial" if record.partial else record.state.value
    return Text(words, style=_RUN_COLOURS.get(record.state, "yellow"))


def _span(started_s: float | None, ended_s: float | None) -> str:
    return "" if started_s is None or ended_s is None else time_words(max(0.0, ended_s - started_s))


def _clock(wall_s: float) -> str:
    return _local(wall_s).time().isoformat("milliseconds")


def _date(wall_s: float) -> str:
    return f"{_local(wall_s):%Y-%m-%d %H:%M:%S}"


def _local(wall_s: float) -> datetime:
    return datetime.fromtimestamp(wall_s, UTC).astimezone()
