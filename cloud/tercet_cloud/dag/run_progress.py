"""How far one run has come: the state of each node, what each still waits for, items of nodes that map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tercet_cloud.dag.graph import Graph
from tercet_cloud.dag.outcomes import NodeState, RunState


@dataclass(slots=True)
class FanOut:
    """A node that maps: its items.

    Attributes:
        count: of them.
        next: the first that was not yet made ready.
        left: not yet ended.
        failed: ended in failure, for good.
        ended: numbers of those that ended before this process took the run on.
    """

    count: int
    left: int
    next: int = 0
    failed: int = 0
    ended: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a node from before a crash.

    Attributes:
        state: an ended state, or RUNNING if only items have ended.
        items: of a node that maps: how many there are; None: not known.
        done_items, failed_items: those that have ended.
    """

    state: NodeState
    items: int | None = None
    done_items: frozenset[int] = frozenset()
    failed_items: frozenset[int] = frozenset()


@dataclass(slots=True)
class RunProgress:
    """Mutable; only `Schedule` changes it."""

    id: str
    graph: Graph
    priority_shift: int
    deadline_s: float | None
    submitted_s: float
    state: RunState = RunState.QUEUED
    states: list[NodeState] = field(default_factory=list)
    # Upstream nodes that have not ended, and downstream nodes that may still read.
    waits: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)
    # The worst that an upstream node came to, which decides what becomes of the node.
    fate: dict[int, NodeState] = field(default_factory=dict)
    fans: dict[int, FanOut] = field(default_factory=dict)
    # Of tasks that were tried more than once: the number of the try, and how many were ended by others' fault.
    attempts: dict[tuple[int, int], int] = field(default_factory=dict)
    innocent: dict[tuple[int, int], int] = field(default_factory=dict)
    open_nodes: int = 0
    failed_nodes: list[int] = field(default_factory=list)
    partial: bool = False
    expired: bool = False
    cancelled: bool = False
    known: Mapping[int, Known] = field(default_factory=dict)

    def begin(self) -> None:
        steps = self.graph.steps
        self.state = RunState.RUNNING
        self.states = [NodeState.WAITING] * len(steps)
        self.waits = [len(step.upstream) for step in steps]
        self.readers = [len(step.downstream) + (number in self.graph.kept) for number, step in enumerate(steps)]
        self.open_nodes = len(steps)

    def priority_of(self, node: int) -> int:
        return max(0, min(100, self.graph.steps[node].priority + self.priority_shift))

    @property
    def outcome(self) -> RunState:
        """What a run has come to whose nodes have all ended."""
        if self.cancelled:
            return RunState.CANCELLED
        if self.expired:
            return RunState.EXPIRED
        if self.failed_nodes:
            return RunState.FAILED
        return RunState.DONE
