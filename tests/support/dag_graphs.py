"""Graphs for the scheduler's tests, and a simulation that looks at everything anew after every event."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tercet_cloud.dag.graph import Graph, Step
from tercet_cloud.dag.outcomes import (
    LOOK,
    Done,
    Failed,
    NodeChanged,
    NodeState,
    Outcome,
    RunChanged,
    RunState,
    Skipped,
    TakenBack,
    Task,
    Trouble,
)
from tercet_cloud.dag.schedule import Schedule


def step(name: str, *before: int, **fields: object) -> Step:
    """A step with usual values; whoever waits for it is filled in by `graph`."""
    values: dict[str, object] = {
        "name": name,
        "target": name,
        "place": "cloud",
        "cpus": 1.0,
        "gpus": 0.0,
        "pool": None,
        "limit": None,
        "priority": 50,
        "timeout_s": None,
        "retries": 0,
        "retry_wait_s": 1.0,
        "maps": False,
        "may_fail": 0,
        "upstream": tuple((number, True) for number in before),
        "downstream": (),
    }
    return Step(**{**values, **fields})  # type: ignore[arg-type]


def graph(*steps: Step, name: str = "g", deadline_s: float | None = None, max_runs: int = 1000) -> Graph:
    after: list[list[int]] = [[] for _ in steps]
    for number, one in enumerate(steps):
        for before, _ in one.upstream:
            after[before].append(number)
    linked = tuple(
        Step(**{**{key: getattr(one, key) for key in Step.__slots__}, "downstream": tuple(after[number])})
        for number, one in enumerate(steps)
    )
    kept = frozenset(number for number, waiting in enumerate(after) if not waiting)
    return Graph(name, linked, kept, deadline_s, 50, max_runs)


def random_graph(generator: random.Random, name: str, nodes: int) -> Graph:
    """Any shape, with pools, priorities, retries, lists and optional needs."""
    steps = []
    for number in range(nodes):
        before = generator.sample(range(number), min(number, generator.randrange(4)))
        pool = generator.choice([None, None, "loader", f"{name}/{number}"])
        steps.append(
            step(
                f"n{number}",
                upstream=tuple((other, generator.random() < 0.8) for other in before),
                pool=pool,
                limit=None if pool is None else 2 if pool == "loader" else 1,
                priority=generator.choice([0, 50, 100]),
                cpus=generator.choice([1.0, 1.0, 2.0]),
                retries=generator.randrange(3),
                maps=generator.random() < 0.2,
                may_fail=generator.randrange(2),
                timeout_s=generator.choice([None, 3.0]),
            )
        )
    return graph(*steps, name=name, max_runs=generator.choice([1, 1000]))


@dataclass
class Simulation:
    """Runs a schedule against seeded durations and outcomes, and checks what must always hold.

    Attributes:
        cpus: of the only place.
        began, ended: of every node that ran.
        busy_cpus_s: the integral of used CPUs.
    """

    schedule: Schedule
    generator: random.Random
    cpus: float
    trouble: float = 0.2
    now_s: float = 0.0
    graphs: dict[str, Graph] = field(default_factory=dict)
    states: dict[tuple[str, int], NodeState] = field(default_factory=dict)
    runs: dict[str, RunState] = field(default_factory=dict)
    running: dict[Task, float] = field(default_factory=dict)
    ends: list[tuple[float, int, Task]] = field(default_factory=list)
    started: list[tuple[float, Task]] = field(default_factory=list)
    order: int = 0
    busy_cpus_s: float = 0.0

    def submit(self, run: str, of: Graph, **options: object) -> None:
        self.graphs[run] = of
        self.schedule.submit(run, of, self.now_s, **options)  # type: ignore[arg-type]
        self._note()

    def go(self, until_s: float = 1e6) -> None:
        """Until nothing is under way and nothing is due."""
        while True:
            for task in self.schedule.start(self.now_s):
                self._start(task)
            self._note()
            self._check()
            due_s = self.schedule.next_due_s()
            end_s = self.ends[0][0] if self.ends else None
            times = [time for time in (due_s, end_s) if time is not None]
            if not times or not list(self.schedule.runs) or min(times) > until_s:
                return
            then_s = max(self.now_s, min(times))
            self.busy_cpus_s += (then_s - self.now_s) * sum(self._step(task).cpus for task in self.running)
            self.now_s = then_s
            self.schedule.pass_time(self.now_s)
            self._look()
            self._stop()
            while self.ends and self.ends[0][0] <= self.now_s:
                _, _, task = heappop(self.ends)
                outcome = self._outcome(task)
                was_under_way = self.running.pop(task, None) is not None
                assert self.schedule.finish(task, outcome, self.now_s) == was_under_way
                self._stop()
            self._note()

    def _look(self) -> None:
        """Of those over their time some turn out to have begun late, and some never to have."""
        for task in self.schedule.take_overdue():
            if self.generator.random() < 0.2:
                self.schedule.look_again(task, self.now_s + 1)
                continue
            del self.running[task]
            never = self.generator.random() < 0.3
            self.schedule.finish(task, TakenBack() if never else Failed(Trouble.TIMEOUT, "seeded"), self.now_s)

    def _stop(self) -> None:
        for task in self.schedule.take_stops():
            del self.running[task]

    def _start(self, task: Task) -> None:
        assert task not in self.running
        self._check_inputs(task)
        self.started.append((self.now_s, task))
        self.running[task] = self.now_s
        self.order += 1
        hangs = self.trouble and self._step(task).timeout_s and self.generator.random() < 0.1
        took_s = 100.0 if hangs else self.generator.choice([0.5, 1.0, 2.0])
        heappush(self.ends, (self.now_s + took_s, self.order, task))

    def _outcome(self, task: Task) -> Outcome:
        if self.generator.random() < self.trouble:
            if task.item < 0 and self.generator.random() < 0.3:
                return Skipped()
            return Failed(Trouble.ERROR, "seeded", may_retry=self.generator.random() < 0.8)
        return Done(length=self.generator.randrange(5) if task.item == LOOK else None)

    def _step(self, task: Task) -> Step:
        return self.graphs[task.run].steps[task.node]

    def _note(self) -> None:
        for change in self.schedule.take_changes():
            if isinstance(change, NodeChanged) and change.item < 0:
                before = self.states.get((change.run, change.node), NodeState.WAITING)
                assert not before.ended, "an ended node changed"
                self.states[change.run, change.node] = change.state
            elif isinstance(change, RunChanged):
                self.runs[change.run] = change.state

    def _check_inputs(self, task: Task) -> None:
        for before, required in self._step(task).upstream:
            state = self.states[task.run, before]
            assert state is NodeState.DONE or (not required and state is NodeState.SKIPPED)

    def _check(self) -> None:
        """Limits are kept; and nothing that is ready waits while there is room for it."""
        used = sum(self._step(task).cpus for task in self.running)
        assert used <= self.cpus
        pools: dict[str, int] = {}
        for task in self.running:
            if (pool := self._step(task).pool) is not None:
                pools[pool] = pools.get(pool, 0) + 1
        for task in self.running:
            limit = self._step(task).limit
            assert limit is None or pools[self._step(task).pool or ""] <= limit
        for (run, node), state in self.states.items():
            one = self.graphs[run].steps[node]
            if state is not NodeState.READY or one.cpus > 1:
                continue
            room = one.pool is None or pools.get(one.pool, 0) < (one.limit or 1)
            assert not room or used + one.cpus > self.cpus or self._reserved(), "a ready node waits for nothing"

    def _reserved(self) -> bool:
        """Whether something larger has waited so long that others no longer overtake it."""
        return any(
            self.graphs[run].steps[node].cpus > 1
            and (state is NodeState.READY or (state is NodeState.RUNNING and self.graphs[run].steps[node].maps))
            for (run, node), state in self.states.items()
        )
