"""How far one run has come: the state of each node, what each still waits for, items of nodes that map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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

    def take(self) -> int | None:
        """The next item to be made ready; None if there is no other."""
        while self.next in self.ended:
            self.next += 1
        if self.next >= self.count:
            return None
        self.next += 1
        return self.next - 1


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a node from before a crash.

    Attributes:
        state: what it came to, which stays so; or RUNNING if only items have ended.
        items: of a node that maps: how many there are; None: not known.
        done_items, failed_items: those that have ended.
    """

    state: NodeState
    items: int | None = None
    done_items: frozenset[int] = frozenset()
    failed_items: frozenset[int] = frozenset()


class Settled(NamedTuple):
    """What the end of a node means for others, in the graph's order.

    Attributes:
        released: nodes whose results nobody reads any more.
        ready: nodes that have all they need.
        fates: nodes that end with it, and as what.
    """

    released: list[int]
    ready: list[int]
    fates: list[tuple[int, NodeState]]


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
    # Of tasks that were tried more than once: the number of the try, and how many were ended by others' fault, or
    # taken back before they ran.
    attempts: dict[tuple[int, int], int] = field(default_factory=dict)
    innocent: dict[tuple[int, int], int] = field(default_factory=dict)
    taken_back: dict[tuple[int, int], int] = field(default_factory=dict)
    open_nodes: int = 0
    failed_nodes: list[int] = field(default_factory=list)
    partial: bool = False
    # What a run came to that was ended before its nodes had, and why.
    given_up: RunState | None = None
    reason: str = ""
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

    def fan_out(self, node: int, count: int) -> FanOut:
        """A node turns out to have so many items, of which some may have ended before a crash."""
        known = self.known.get(node)
        done, failed = (known.done_items, known.failed_items) if known is not None else (frozenset[int](),) * 2
        ended = done | failed
        fan = self.fans[node] = FanOut(count, count - len(ended), failed=len(failed), ended=ended)
        self.partial = self.partial or bool(failed)
        return fan

    def close(self, node: int, state: NodeState) -> FanOut | None:
        """A node ends; the items it had, if it maps. What that means for others, `settle` says."""
        self.states[node] = state
        self.open_nodes -= 1
        if state is NodeState.FAILED:
            self.failed_nodes.append(node)
        return self.fans.pop(node, None)

    def settle(self, number: int) -> Settled:
        """Count for the nodes before and behind one that `close` has ended; call it once for each."""
        steps = self.graph.steps
        state = self.states[number]
        settled = Settled([], [], [])
        for before, _ in steps[number].upstream:
            self.readers[before] -= 1
            if self.readers[before] == 0:
                settled.released.append(before)
        if self.readers[number] == 0:
            settled.released.append(number)
        for after in steps[number].downstream:
            self.waits[after] -= 1
            if state is not NodeState.DONE:
                self._note_fate(number, after, state)
            if self.waits[after] or self.states[after] is not NodeState.WAITING or self._ended_before(after):
                continue
            if (fate := self.fate.get(after)) is not None:
                settled.fates.append((after, fate))
            else:
                settled.ready.append(after)
        return settled

    def _note_fate(self, number: int, after: int, state: NodeState) -> None:
        if state is not NodeState.SKIPPED:
            self.fate[after] = NodeState.NOT_RUN
        elif next(required for other, required in self.graph.steps[after].upstream if other == number):
            self.fate.setdefault(after, NodeState.SKIPPED)

    def _ended_before(self, node: int) -> bool:
        """Before a crash: who begins the run says so."""
        known = self.known.get(node)
        return known is not None and known.state.ended

    @property
    def outcome(self) -> RunState:
        """What a run has come to that was given up, or whose nodes have all ended."""
        if self.given_up is not None:
            return self.given_up
        return RunState.FAILED if self.failed_nodes else RunState.DONE

    @property
    def words(self) -> str:
        """Why it came to that."""
        names = [self.graph.steps[node].name for node in self.failed_nodes[:3]]
        return self.reason or (f"failed: {', '.join(names)}" if names else "")
