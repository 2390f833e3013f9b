"""A pipeline compiled for scheduling: nodes by number, who waits for whom, and what each costs and may take."""

from __future__ import annotations

from dataclasses import dataclass

from tercet_cloud.dag.spec import Pipeline

CLOUD = "cloud"


@dataclass(frozen=True, slots=True)
class Step:
    """One node, as the scheduler sees it.

    Attributes:
        name: of the node.
        target: what it runs; nodes that run the same are expected to take as long.
        place: whose capacity it takes: `cloud`, `edge`, `edge:NAME` or `device:NAME`.
        cpus, gpus: of that capacity; a step that runs on another tier takes one.
        pool: whose limit it shares; None: it has no limit.
        limit: calls at once over that pool; the least that a node of it says.
        priority: 0 to 100, larger first.
        timeout_s: of one try.
        retries, retry_wait_s: tries beyond the first, and the wait before the second, which doubles.
        maps: runs once for every item of a list.
        may_fail: so many items may fail.
        upstream: the steps it waits for, and whether it cannot do without.
        downstream: the steps that wait for it.
    """

    name: str
    target: str
    place: str
    cpus: float
    gpus: float
    pool: str | None
    limit: int | None
    priority: int
    timeout_s: float | None
    retries: int
    retry_wait_s: float
    maps: bool
    may_fail: int
    upstream: tuple[tuple[int, bool], ...]
    downstream: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A pipeline as the scheduler sees it; `kept` are steps whose results a run gives."""

    name: str
    steps: tuple[Step, ...]
    kept: frozenset[int]
    deadline_s: float | None
    priority: int
    max_runs: int

    def number_of(self, name: str) -> int | None:
        return next((number for number, step in enumerate(self.steps) if step.name == name), None)


def compile_graph(pipeline: Pipeline) -> Graph:
    """The graph of a checked pipeline; linear in nodes and needs."""
    numbers = {name: number for number, name in enumerate(pipeline.nodes)}
    downstream: list[list[int]] = [[] for _ in numbers]
    upstream = [
        tuple((numbers[name], required) for name, required in node.upstream().items())
        for node in pipeline.nodes.values()
    ]
    for number, before in enumerate(upstream):
        for other, _ in before:
            downstream[other].append(number)
    limits = pipeline.pool_limits()
    steps = tuple(
        Step(
            name=name,
            target=node.target,
            place=(place := place_of(node.tier, node.at, split=node.deployment is not None)),
            cpus=node.resources.cpus if place == CLOUD else 1.0,
            gpus=node.resources.gpus if place == CLOUD else 0.0,
            pool=None if (limit := limits.get(node.pool, node.max_concurrency)) is None else pipeline.pool_of(name),
            limit=limit,
            priority=pipeline.priority_of(node),
            timeout_s=node.timeout_s,
            retries=node.retries,
            retry_wait_s=node.retry_wait_s,
            maps=node.map is not None,
            may_fail=node.map.may_fail if node.map else 0,
            upstream=upstream[number],
            downstream=tuple(downstream[number]),
        )
        for number, (name, node) in enumerate(pipeline.nodes.items())
    )
    kept = frozenset(numbers[name] for name in pipeline.kept())
    return Graph(pipeline.name, steps, kept, pipeline.deadline_s, pipeline.priority, pipeline.max_runs)


def place_of(tier: str, at: str | None, *, split: bool) -> str:
    """Where a node runs. `auto`: a split model enters where devices publish, everything else is in the cloud."""
    if tier == "auto":
        return "edge" if split else CLOUD
    return f"{tier}:{at}" if at is not None else tier
