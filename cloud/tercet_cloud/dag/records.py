"""Runs as people see them: what `tercet pipeline show` prints, draws and gives as JSON, by wall time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from tercet_cloud.dag.outcomes import NodeState, RunState

MAX_LOG_CHARS = 65_536
_FATES = {RunState.CANCELLED: NodeState.CANCELLED, RunState.EXPIRED: NodeState.EXPIRED}


@dataclass(frozen=True)
class ItemRecord:
    """One item of a node that maps."""

    item: int
    state: NodeState
    attempts: int = 0
    started_s: float | None = None
    ended_s: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class NodeRecord:
    """One node.

    Attributes:
        place: the tier it runs on.
        attempts: tries so far.
        started_s: of the last try; of a node that maps, of the first item.
        busy_s: what its function took by itself, over all items; less than from start to end where it waited.
        items: how many it maps over; None if it does not, or nobody has looked yet.
        troubles: what went wrong in tries that were repeated, and in items, in order.
        log: what it printed.
    """

    node: str
    place: str
    needs: tuple[str, ...] = ()
    state: NodeState = NodeState.WAITING
    attempts: int = 0
    started_s: float | None = None
    ended_s: float | None = None
    reason: str = ""
    items: int | None = None
    each: tuple[ItemRecord, ...] = ()
    troubles: tuple[str, ...] = ()
    log: str = ""
    busy_s: float = 0.0

    @property
    def took_s(self) -> float | None:
        if self.started_s is None or self.ended_s is None:
            return None
        return max(0.0, self.ended_s - self.started_s)

    @property
    def ended_items(self) -> int:
        return sum(item.state.ended for item in self.each)


@dataclass(frozen=True)
class RunRecord:
    """One run."""

    run: str
    pipeline: str
    state: RunState = RunState.QUEUED
    submitted_s: float = 0.0
    started_s: float | None = None
    ended_s: float | None = None
    reason: str = ""
    partial: bool = False
    nodes: tuple[NodeRecord, ...] = field(default_factory=tuple)

    def node(self, name: str) -> NodeRecord | None:
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> Mapping[str, NodeRecord]:
        return {node.node: node for node in self.nodes}

    def counts(self) -> Mapping[NodeState, int]:
        found: dict[NodeState, int] = {}
        for node in self.nodes:
            found[node.state] = found.get(node.state, 0) + 1
        return found

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        for node, record in zip(data["nodes"], self.nodes, strict=True):
            node["took_s"] = record.took_s
            node["ended_items"] = record.ended_items if record.items is not None else None
            node["each"] = [item for item in node["each"] if item["reason"]]
        return data


def closed(record: RunRecord) -> RunRecord:
    """As people see it: in a run that has ended no node is open; those that it left so came to what it did."""
    if not record.state.ended or all(node.state.ended for node in record.nodes):
        return record
    fate = _FATES.get(record.state)
    nodes = (
        node
        if node.state.ended
        else replace(node, state=fate or _left(node.state), ended_s=record.ended_s, reason=record.reason)
        for node in record.nodes
    )
    return replace(record, nodes=tuple(nodes))


def _left(state: NodeState) -> NodeState:
    return NodeState.CANCELLED if state is NodeState.RUNNING else NodeState.NOT_RUN
