"""The state of a run as it changes, for whoever watches it: kept cheaply, put together when somebody asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from tercet.printable import printable
from tercet_cloud.dag.graph import Graph
from tercet_cloud.dag.outcomes import LOOK, WHOLE, NodeChanged, NodeState, RunChanged, RunState, Task
from tercet_cloud.dag.records import MAX_LOG_CHARS, ItemRecord, NodeRecord, RunRecord, closed

_TROUBLES_KEPT = 50


@dataclass(slots=True)
class _Item:
    state: NodeState
    attempts: int = 0
    started_s: float | None = None
    ended_s: float | None = None
    reason: str = ""


@dataclass(slots=True)
class _Node:
    """Mutable, and made a record of only when somebody asks: most changes nobody sees."""

    name: str
    place: str
    needs: tuple[str, ...]
    state: NodeState = NodeState.WAITING
    attempts: int = 0
    started_s: float | None = None
    ended_s: float | None = None
    reason: str = ""
    count: int | None = None
    items: dict[int, _Item] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    log: str = ""
    busy_s: float = 0.0

    def record(self, *, items: bool) -> NodeRecord:
        return NodeRecord(
            self.name,
            self.place,
            self.needs,
            self.state,
            self.attempts,
            self.started_s,
            self.ended_s,
            self.reason,
            self.count,
            tuple(_item_record(number, self.items[number]) for number in sorted(self.items)) if items else (),
            tuple(self.troubles),
            self.log,
            self.busy_s,
        )

    def restore(self, known: NodeRecord) -> None:
        """What is known from before a crash."""
        for item in known.each:
            self.items[item.item] = _Item(item.state, item.attempts, item.started_s, item.ended_s, item.reason)
        self.troubles, self.log, self.busy_s = list(known.troubles), known.log, known.busy_s
        self.started_s, self.count = known.started_s, known.items
        if known.state.ended:
            self.state, self.attempts, self.ended_s, self.reason = (
                known.state,
                known.attempts,
                known.ended_s,
                known.reason,
            )


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
            _Node(step.name, step.place, tuple(graph.steps[before].name for before, _ in step.upstream))
            for step in graph.steps
        ]
        for node in self._nodes:
            if known is not None and (before := known.node(node.name)) is not None:
                node.restore(before)
        self.version = 0
        self._changed = asyncio.Event()

    @property
    def state(self) -> RunState:
        return self._record.state

    def name_of(self, node: int) -> str:
        return self._nodes[node].name

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

    def tell(self, task: Task, took_s: float, log: str) -> None:
        """How long a try took by itself, and what it printed."""
        node = self._nodes[task.node]
        if task.item != LOOK:
            node.busy_s += took_s
        if not log:
            return
        where = f"[item {task.item}] " if task.item >= 0 else ""
        node.log = (node.log + "".join(f"{where}{printable(line.expandtabs())}\n" for line in log.splitlines()))[
            -MAX_LOG_CHARS:
        ]

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
        if not nodes:
            return self._record
        return closed(replace(self._record, nodes=tuple(node.record(items=True) for node in self._nodes)))

    def node_record(self, node: int) -> NodeRecord:
        """One node, without its items."""
        return self._nodes[node].record(items=False)

    def item_record(self, node: int, item: int) -> ItemRecord:
        return _item_record(item, self._nodes[node].items[item])

    def _apply_run(self, change: RunChanged, at_s: float) -> None:
        record = replace(self._record, state=change.state, reason=change.reason, partial=change.partial)
        if change.state is RunState.RUNNING:
            record = replace(record, started_s=record.started_s or at_s)
        elif change.state.ended:
            record = replace(record, ended_s=at_s)
        self._record = record

    def _apply_node(self, node: _Node, change: NodeChanged, at_s: float) -> None:
        node.state = change.state
        node.attempts = max(node.attempts, change.attempt)
        if change.items is not None:
            node.count = change.items
        if change.state is NodeState.RUNNING and (change.items is None or node.started_s is None):
            node.started_s = at_s
        elif change.state.ended:
            node.ended_s, node.reason = at_s, change.reason
        elif change.reason:
            _trouble(node, f"try {change.attempt}: {change.reason}")

    def _apply_item(self, node: _Node, change: NodeChanged, at_s: float) -> None:
        item = node.items.get(change.item)
        if item is None:
            item = node.items[change.item] = _Item(change.state)
        item.state, item.reason = change.state, change.reason
        item.attempts = max(item.attempts, change.attempt)
        if change.state is NodeState.RUNNING:
            item.started_s = at_s
        elif change.state.ended:
            item.ended_s = at_s
        if change.reason:
            _trouble(node, f"item {change.item}, try {change.attempt}: {change.reason}")


def _trouble(node: _Node, words: str) -> None:
    node.troubles = [*node.troubles[-_TROUBLES_KEPT + 1 :], words]


def _item_record(number: int, item: _Item) -> ItemRecord:
    return ItemRecord(number, item.state, item.attempts, item.started_s, item.ended_s, item.reason)
