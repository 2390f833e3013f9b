"""The state of a run as it changes, for whoever watches it: kept cheaply, put together when somebody asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from tercet_cloud.dag.graph import Graph
from tercet_cloud.dag.outcomes import WHOLE, NodeChanged, NodeState, RunChanged, RunState, Task
from tercet_cloud.dag.records import MAX_LOG_CHARS, ItemRecord, NodeRecord, RunRecord

_TROUBLES_KEPT = 50


@dataclass(slots=True)
class _Node:
    record: NodeRecord
    items: dict[int, ItemRecord] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    log: str = ""


class RunView:
    """One run. `version` grows with every change.

    Args:
        known: what it was before a crash.
    """

    def __init__(self, run: str, graph: Graph, submitted_s: float, known: RunRecord | None = None) -> None:
        self._record = RunRecord(run, graph.name, submitted_s=submitted_s)
        if known is not None:
            self._record = replace(self._record, submitted_s=known.submitted_s, started_s=known.started_s)
        self._nodes = [
            _Node(NodeRecord(step.name, step.place, tuple(graph.steps[before].name for before, _ in step.upstream)))
            for step in graph.steps
        ]
        for node in self._nodes:
            if known is not None and (before := known.node(node.record.node)) is not None and before.state.ended:
                node.record = replace(before, each=())
                node.items = {item.item: item for item in before.each}
        self.version = 0
        self._changed = asyncio.Event()

    @property
    def state(self) -> RunState:
        return self._record.state

    def name_of(self, node: int) -> str:
        return self._nodes[node].record.node

    def apply(self, change: NodeChanged | RunChanged, to_wall_s: float) -> None:
        at_s = change.at_s + to_wall_s
        if isinstance(change, RunChanged):
            self._apply_run(change, at_s)
        elif change.item == WHOLE:
            self._apply_node(self._nodes[change.node], change, at_s)
        else:
            self._apply_item(self._nodes[change.node], change, at_s)
        self.version += 1
        self._changed.set()

    def say(self, task: Task, log: str) -> None:
        """What a try printed."""
        node = self._nodes[task.node]
        where = f"[item {task.item}] " if task.item >= 0 else ""
        node.log = (node.log + "".join(f"{where}{line}\n" for line in log.splitlines()))[-MAX_LOG_CHARS:]

    async def newer(self, version: int, timeout_s: float) -> None:
        """Returns when `self.version` is above `version`, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.version <= version:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

    def record(self, *, nodes: bool = True) -> RunRecord:
        return replace(self._record, nodes=tuple(map(_whole, self._nodes)) if nodes else ())

    def node_record(self, node: int) -> NodeRecord:
        """One node, without its items."""
        held = self._nodes[node]
        return replace(held.record, troubles=tuple(held.troubles), log=held.log)

    def item_record(self, node: int, item: int) -> ItemRecord:
        return self._nodes[node].items[item]

    def _apply_run(self, change: RunChanged, at_s: float) -> None:
        record = replace(self._record, state=change.state, reason=change.reason, partial=change.partial)
        if change.state is RunState.RUNNING:
            record = replace(record, started_s=record.started_s or at_s)
        elif change.state.ended:
            record = replace(record, ended_s=at_s)
        self._record = record

    def _apply_node(self, node: _Node, change: NodeChanged, at_s: float) -> None:
        record = replace(node.record, state=change.state, attempts=max(node.record.attempts, change.attempt))
        if change.items is not None:
            record = replace(record, items=change.items)
        if change.state is NodeState.RUNNING and (change.items is None or record.started_s is None):
            record = replace(record, started_s=at_s)
        if change.state.ended:
            record = replace(record, ended_s=at_s, reason=change.reason)
        elif change.reason:
            _trouble(node, f"try {change.attempt}: {change.reason}")
        node.record = record

    def _apply_item(self, node: _Node, change: NodeChanged, at_s: float) -> None:
        item = node.items.get(change.item, ItemRecord(change.item, change.state))
        item = replace(item, state=change.state, attempts=max(item.attempts, change.attempt), reason=change.reason)
        if change.state is NodeState.RUNNING:
            item = replace(item, started_s=at_s)
        elif change.state.ended:
            item = replace(item, ended_s=at_s)
        if change.reason:
            _trouble(node, f"item {change.item}, try {change.attempt}: {change.reason}")
        node.items[change.item] = item


def _trouble(node: _Node, words: str) -> None:
    node.troubles = [*node.troubles[-_TROUBLES_KEPT + 1 :], words]


def _whole(node: _Node) -> NodeRecord:
    each = tuple(node.items[number] for number in sorted(node.items))
    return replace(node.record, each=each, troubles=tuple(node.troubles), log=node.log)
