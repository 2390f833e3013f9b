"""Which waiting frames run next, and together with which. Pure: time is an argument.

Realtime before durable, older before newer. Frames of one key (segments and shapes) share a run. A frame is held
back for company only while frames of its key arrive faster than the longest wait, and never so long that its
deadline is in danger. A durable frame that has waited long counts as realtime, so that it is not starved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Generic, Literal, TypeVar

from tercet.errors import DeadlineError, OverloadedError, SpecError, UnavailableError

WorkT = TypeVar("WorkT")
OverloadPolicy = Literal["refuse-newest", "drop-oldest"]

# A durable frame that has waited this long goes with the realtime ones.
_PROMOTE_AFTER_S = 1.0
_MEMORY = 0.2
_SHORTEST_RETRY_S = 0.01


@dataclass(eq=False)
class Waiting(Generic[WorkT]):
    """One frame in the queue. `key` None: runs alone. `deadline_s` is of the queue's clock."""

    work: WorkT
    key: Hashable | None
    arrived_s: float
    deadline_s: float = inf
    durable: bool = False


@dataclass(frozen=True)
class Batch(Generic[WorkT]):
    """`run` now, together; `expired` are to be refused."""

    run: list[Waiting[WorkT]] = field(default_factory=list)
    expired: list[Waiting[WorkT]] = field(default_factory=list)


class BatchQueue(Generic[WorkT]):
    """A bounded queue. Not thread-safe; times are seconds of any one monotonic clock.

    Args:
        max_queued: frames that may wait.
        max_batch: frames in one run.
        max_wait_s: longest a frame is held back for company.
        policy: what happens to a frame that finds the queue full. "refuse-newest": it is refused. "drop-oldest":
            the oldest realtime frame is refused in the place of a newer one, as its answer is worth least; durable
            frames are never dropped, and drop none.
    """

    def __init__(
        self, *, max_queued: int, max_batch: int, max_wait_s: float, policy: OverloadPolicy = "refuse-newest"
    ) -> None:
        if max_queued < 1 or max_batch < 1 or not 0 <= max_wait_s < 1:
            raise SpecError("a queue holds at least one frame, runs at least one, and waits less than a second")
        self._max_queued = max_queued
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._policy = policy
        self._realtime: deque[Waiting[WorkT]] = deque()
        self._durable: deque[Waiting[WorkT]] = deque()
        # Per key: when the last frame came, and the mean time between frames.
        self._arrivals: dict[Hashable, tuple[float, float]] = {}
        self._frame_s = 0.0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._realtime) + len(self._durable)

    def queue_s(self, *, durable: bool = False) -> float:
        """How long a frame that came now would wait, by what frames took of late. Realtime passes durable."""
        return (len(self) if durable else len(self._realtime)) * self._frame_s

    def ran(self, frames: int, took_s: float) -> None:
        """A run of so many frames took this long."""
        per_frame_s = took_s / max(1, frames)
        self._frame_s = self._frame_s + _MEMORY * (per_frame_s - self._frame_s) if self._frame_s else per_frame_s

    def put(self, item: Waiting[WorkT], now_s: float) -> Waiting[WorkT] | None:
        """Take a frame in; returns the one that was dropped for it, if any.

        Raises:
            OverloadedError: the queue is full, or the frame's deadline would pass while it waits; says when to
                try again.
        """
        self._note_arrival(item.key, now_s)
        wait_s = self.queue_s(durable=item.durable)
        if now_s + wait_s > item.deadline_s:
            raise OverloadedError(
                f"a frame would wait {wait_s * 1000:.0f} ms here, longer than its deadline allows",
                retry_after_s=max(_SHORTEST_RETRY_S, wait_s),
            )
        dropped = None
        if len(self) >= self._max_queued:
            if self._policy == "refuse-newest" or item.durable or not self._realtime:
                raise OverloadedError(
                    f"{len(self)} frames wait here: no room for more", retry_after_s=max(_SHORTEST_RETRY_S, wait_s)
                )
            dropped = self._realtime.popleft()
            self.dropped += 1
        (self._durable if item.durable else self._realtime).append(item)
        return dropped

    def take(self, now_s: float) -> Batch[WorkT] | float | None:
        """What to run now; or for how many seconds to hold back if nothing else comes; or None: nothing waits."""
        expired = self._take_expired(now_s)
        if expired:
            return Batch(expired=expired)
        lead = self._lead(now_s)
        if lead is None:
            return None
        group = self._group(lead)
        hold_s = self._hold_s(lead, len(group), now_s)
        if hold_s > 0:
            return hold_s
        self._remove(group)
        return Batch(run=group)

    def remove(self, item: Waiting[WorkT]) -> bool:
        """Forget a frame whose caller went away; False if it does not wait here."""
        queue = self._durable if item.durable else self._realtime
        if item not in queue:
            return False
        queue.remove(item)
        return True

    def clear(self) -> list[Waiting[WorkT]]:
        """Everything that waits; the queue is empty afterwards."""
        left = [*self._realtime, *self._durable]
        self._realtime.clear()
        self._durable.clear()
        return left

    def _lead(self, now_s: float) -> Waiting[WorkT] | None:
        if self._durable and (not self._realtime or now_s - self._durable[0].arrived_s > _PROMOTE_AFTER_S):
            return self._durable[0]
        return self._realtime[0] if self._realtime else None

    def _group(self, lead: Waiting[WorkT]) -> list[Waiting[WorkT]]:
        if lead.key is None:
            return [lead]
        others = (
            item
            for queue in (self._realtime, self._durable)
            for item in queue
            if item.key == lead.key and item is not lead
        )
        return [lead, *(item for item, _ in zip(others, range(self._max_batch - 1), strict=False))]

    def _hold_s(self, lead: Waiting[WorkT], size: int, now_s: float) -> float:
        if lead.key is None or size >= self._max_batch:
            return 0.0
        _, between_s = self._arrivals.get(lead.key, (0.0, inf))
        if between_s > self._max_wait_s:
            return 0.0
        until_s = min(lead.arrived_s + self._max_wait_s, lead.deadline_s - 2 * self._frame_s * (size + 1))
        return until_s - now_s

    def _note_arrival(self, key: Hashable | None, now_s: float) -> None:
        if key is None:
            return
        last_s, between_s = self._arrivals.pop(key, (now_s - 1, 1.0))
        self._arrivals[key] = (now_s, between_s + _MEMORY * (min(1.0, now_s - last_s) - between_s))
        while len(self._arrivals) > 256:
            del self._arrivals[next(iter(self._arrivals))]

    def _take_expired(self, now_s: float) -> list[Waiting[WorkT]]:
        expired = [item for queue in (self._realtime, self._durable) for item in queue if item.deadline_s <= now_s]
        self._remove(expired)
        return expired

    def _remove(self, items: list[Waiting[WorkT]]) -> None:
        gone = set(map(id, items))
        if gone:
            self._realtime = deque(item for item in self._realtime if id(item) not in gone)
            self._durable = deque(item for item in self._durable if id(item) not in gone)


def refusal_of(expired: Waiting[WorkT], now_s: float) -> UnavailableError:
    """Why a frame that waited too long is not computed any more."""
    waited_ms = (now_s - expired.arrived_s) * 1000
    return DeadlineError(f"the frame's deadline passed after {waited_ms:.0f} ms in the queue")
