"""Tasks that are ready, and which of them starts next: by priority and age, within the limits.

A task's rank is fixed when it becomes ready: its priority, less what time gives those that came before it. After
`ageing_s` more of waiting a task of priority 0 goes before a fresh one of priority 100, so nobody starves. As ranks
don't change, heaps hold them, and a start costs the logarithm of what waits, not a look at all of it.

Tasks that differ in nothing but rank (same pool, place, demand) form a lane; lanes of one place and demand form a
class. A full pool parks its lanes; a full place is seen once per class. If the best task of a place needs more
than is free and has waited for `patience_s`, smaller ones stop overtaking it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tercet_cloud.dag.graph import Step
from tercet_cloud.dag.outcomes import Task

_FULL_SPAN = 100.0
# Tasks that a place which nobody described may have under way.
OTHER_PLACE = 64
# Fewer lanes than this are not looked through for those that are not used any more.
_FEW_LANES = 256


@dataclass(slots=True)
class Place:
    """Somewhere that runs tasks.

    Attributes:
        cpus, gpus: what it has.
        ahead: tasks that may be given to it beyond that, so that its workers need not wait for the next; times
            `Lane.ahead`.
    """

    cpus: float
    gpus: float = 0.0
    ahead: int = 0
    used_cpus: float = 0.0
    used_gpus: float = 0.0
    # Tasks under way by priority.
    by_priority: dict[int, int] = field(default_factory=dict)

    def admits(self, lane: Lane, priority: int) -> bool:
        """Whether a task may start here now.

        A short task may go `ahead` of a free worker; and one above the least priority under way as far again,
        because workers take what waits at them by rank.
        """
        if self.used_gpus + lane.gpus > self.gpus + 1e-9:
            return False
        limit = self.cpus
        if lane.ahead:
            limit += self.ahead * lane.ahead
            if self.by_priority and priority > min(self.by_priority):
                limit += self.ahead
        return self.used_cpus + lane.cpus <= limit + 1e-9

    def take(self, lane: Lane, priority: int) -> None:
        self.used_cpus += lane.cpus
        self.used_gpus += lane.gpus
        self.by_priority[priority] = self.by_priority.get(priority, 0) + 1

    def give_back(self, lane: Lane, priority: int) -> None:
        self.used_cpus = max(0.0, self.used_cpus - lane.cpus)
        self.used_gpus = max(0.0, self.used_gpus - lane.gpus)
        if self.by_priority[priority] == 1:
            del self.by_priority[priority]
        else:
            self.by_priority[priority] -= 1


@dataclass(eq=False, slots=True)
class Pool:
    """Nodes that share a limit."""

    limit: int
    running: int = 0
    parked: list[Lane] = field(default_factory=list)


@dataclass(slots=True)
class Lane:
    """Tasks that differ in nothing but rank."""

    place: str
    cpus: float
    gpus: float
    pool: Pool | None
    kind: Class
    ahead: int = 0
    heap: list[Entry] = field(default_factory=list)
    # The order number of the first task when its class was told of it; 0: not listed there.
    listed_for: int = 0
    parked: bool = False


@dataclass(slots=True)
class Class:
    """Lanes of one place and demand, by the rank of their first task."""

    place: str
    heap: list[tuple[float, int, Lane]] = field(default_factory=list)


# Rank, order of arrival, when it became ready, priority, task.
Entry = tuple[float, int, float, int, Task]


class ReadyQueue:
    """See the module.

    Args:
        places: what there is, by name; others get `OTHER_PLACE` slots when they are first named.
        is_wanted: whether a task that was pushed may still start.
    """

    def __init__(
        self,
        places: dict[str, Place],
        is_wanted: Callable[[Task], bool],
        *,
        ageing_s: float = 60.0,
        patience_s: float = 1.0,
    ) -> None:
        self.places = places
        self._is_wanted = is_wanted
        self._ageing, self._patience_s = _FULL_SPAN / ageing_s, patience_s
        self._classes: dict[tuple[str, float, float], Class] = {}
        self._lanes: dict[tuple[str | None, str, float, float, int], Lane] = {}
        self._pools: dict[str, Pool] = {}
        self._most_lanes = _FEW_LANES
        self._count = 0
        self.waiting = 0

    def lane_of(self, step: Step, ahead: int) -> Lane:
        """The lane of a step.

        Args:
            ahead: how many of it may wait at a worker: some if it is so short that waiting for the next would cost.
        """
        key = (step.pool, step.place, step.cpus, step.gpus, ahead)
        lane = self._lanes.get(key)
        if lane is None:
            self._sweep()
            lane = self._lanes[key] = self._make_lane(step, ahead)
        if lane.pool is not None and step.limit is not None:
            # The latest word on a pool's limit holds.
            lane.pool.limit = step.limit
        return lane

    def push(self, lane: Lane, task: Task, priority: int, ready_s: float) -> None:
        self._count += 1
        self.waiting += 1
        rank = ready_s * self._ageing - priority
        heappush(lane.heap, (rank, self._count, ready_s, priority, task))
        if not lane.parked and lane.heap[0][1] != lane.listed_for:
            _list(lane)

    def take(self, now_s: float) -> Iterator[tuple[Lane, Entry]]:
        """The tasks that may start now, best first; each takes of its place and pool until `release`."""
        while (lane := self._best(now_s)) is not None:
            heappop(lane.kind.heap)
            entry = heappop(lane.heap)
            _list(lane)
            self.waiting -= 1
            if lane.pool is not None:
                lane.pool.running += 1
            self.places[lane.place].take(lane, entry[3])
            yield lane, entry

    def release(self, lane: Lane, priority: int) -> None:
        """A task of the lane has ended: what it took is free again."""
        self.places[lane.place].give_back(lane, priority)
        if lane.pool is not None:
            lane.pool.running -= 1
            parked, lane.pool.parked = lane.pool.parked, []
            for other in parked:
                other.parked = False
                _list(other)

    def _best(self, now_s: float) -> Lane | None:
        """The lane whose first task starts next; None if none may."""
        heads: list[tuple[float, int, Class]] = []
        for kind in self._classes.values():
            if (lane := self._head(kind)) is not None:
                heads.append((kind.heap[0][0], kind.heap[0][1], kind))
        reserved: set[str] = set()
        for _, _, kind in sorted(heads, key=lambda head: head[:2]):
            lane = kind.heap[0][2]
            _, _, ready_s, priority, _ = lane.heap[0]
            if kind.place in reserved:
                continue
            if self.places[kind.place].admits(lane, priority):
                return lane
            if now_s - ready_s > self._patience_s and not lane.ahead:
                reserved.add(kind.place)
        return None

    def _head(self, kind: Class) -> Lane | None:
        """The class's best lane whose pool has room.

        On the way, lanes of full pools are parked, and tasks that nobody wants any more are dropped.
        """
        while kind.heap:
            _, count, lane = kind.heap[0]
            if lane.listed_for == count:
                if not self._is_wanted(lane.heap[0][4]):
                    heappop(lane.heap)
                    self.waiting -= 1
                    heappop(kind.heap)
                    _list(lane)
                    continue
                if lane.pool is None or lane.pool.running < lane.pool.limit:
                    return lane
                lane.parked, lane.listed_for = True, 0
                lane.pool.parked.append(lane)
            heappop(kind.heap)
        return None

    def _sweep(self) -> None:
        """Forget the lanes of pools that nobody uses, if there are twice as many lanes as were left the last time.

        Pools are named by whoever writes pipelines, so there may be any number in time; lanes without one are few.
        """
        if len(self._lanes) < self._most_lanes:
            return
        used = {lane.pool for lane in self._lanes.values() if lane.pool and (lane.heap or lane.pool.running)}
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.pool is None or lane.pool in used}
        self._pools = {name: pool for name, pool in self._pools.items() if pool in used}
        kinds = {id(lane.kind) for lane in self._lanes.values()}
        self._classes = {key: kind for key, kind in self._classes.items() if id(kind) in kinds}
        self._most_lanes = max(_FEW_LANES, 2 * len(self._lanes))

    def _make_lane(self, step: Step, ahead: int) -> Lane:
        if step.place not in self.places:
            self.places[step.place] = Place(OTHER_PLACE)
        pool = None
        if step.pool is not None:
            pool = self._pools.setdefault(step.pool, Pool(step.limit or 1))
        kind = self._classes.setdefault((step.place, step.cpus, step.gpus), Class(step.place))
        return Lane(step.place, step.cpus, step.gpus, pool, kind, ahead)


def _list(lane: Lane) -> None:
    """Tell a lane's class of its first task; older places of the lane there are passed over."""
    if lane.heap:
        rank, count = lane.heap[0][:2]
        lane.listed_for = count
        heappush(lane.kind.heap, (rank, count, lane))
    else:
        lane.listed_for = 0
