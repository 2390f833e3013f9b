"""What can become of runs, nodes and single tries, and the news of it that the scheduler gives out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

# Items of a task that are none: the whole node, and looking how long the list is that a node maps over.
WHOLE, LOOK = -1, -2


class NodeState(StrEnum):
    """In the order a node goes through them; from DONE on it has ended."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    NOT_RUN = "not run"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        return self not in _OPEN


_OPEN = frozenset({NodeState.WAITING, NodeState.READY, NodeState.RUNNING})


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING)


class Trouble(StrEnum):
    """Why a try failed."""

    ERROR = "error"
    TIMEOUT = "timeout"
    WORKER_DIED = "worker died"
    MEMORY = "memory"
    WRONG_TYPE = "wrong type"
    TIER_OFFLINE = "tier offline"


class Task(NamedTuple):
    """One try of one node, or of one item of it."""

    run: str
    node: int
    item: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Done:
    """The try succeeded.

    Attributes:
        length: how many items the list has that a LOOK looked at.
        took_s: of the function alone, if it was measured.
    """

    length: int | None = None
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """The node's condition did not hold."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The try failed.

    Attributes:
        reason: one line.
        may_retry: another try may succeed.
        innocent: it was not this try's fault (another call took its worker down): tried again, and not counted.
    """

    trouble: Trouble
    reason: str
    may_retry: bool = True
    innocent: bool = False


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The try was to wait for another and never ran, or nobody will know whether it did: tried again, uncounted."""


Outcome = Done | Skipped | Failed | TakenBack


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A node, or an item of it (`item` ≥ 0), is in another state now.

    A try that failed and will be repeated is WAITING, with the reason.
    """

    run: str
    node: int
    item: int
    state: NodeState
    at_s: float
    attempt: int = 0
    reason: str = ""
    items: int | None = None
    failed_items: int = 0


@dataclass(frozen=True, slots=True)
class RunChanged:
    """A run is in another state now. `partial`: its results lack items or nodes."""

    run: str
    state: RunState
    at_s: float
    reason: str = ""
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """No step will read this node's result any more."""

    run: str
    node: int


Change = NodeChanged | RunChanged | Released
