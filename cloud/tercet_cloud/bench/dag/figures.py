"""What `tercet bench dag` measures, as it is written to JSON; each part knows its goal."""

from __future__ import annotations

from tercet.documents import Document

# What is published for a system of this kind, on 24 cores: concurrent pipelines, operations a second.
PUBLISHED_CORES = 24
PUBLISHED = {10: 1250.0, 50: 4680.0, 100: 5120.0}
# And for events against polling: milliseconds of latency, operations a second.
PUBLISHED_LATENCY_MS = (218.0, 97.0)
PUBLISHED_RATE = (450.0, 890.0)


class Makespan(Document):
    """Random layered graphs; the median.

    Attributes:
        ratio: against the least that any schedule needs for nodes of 10 ms.
        own_ratio: against the least for the times that the nodes really took, which are longer where other
            processes want the cores too: what of it is the scheduling's.
    """

    work: str
    nodes: int
    took_s: float
    least_s: float
    ratio: float
    own_ratio: float


class Overhead(Document):
    """Milliseconds a node that does nothing costs, beside a bare Ray task that does nothing."""

    shape: str
    pipeline_ms: float
    bare_ms: float

    @property
    def ratio(self) -> float:
        return self.pipeline_ms / self.bare_ms


class Growth(Document):
    """Microseconds a node costs in graphs of two sizes."""

    what: str
    small_nodes: int
    small_us: float
    large_nodes: int
    large_us: float

    @property
    def ratio(self) -> float:
        return self.large_us / self.small_us


class Inversion(Document):
    """A pipeline of high priority, alone and under a load of low priority that always has more to do."""

    runs: int
    alone_p50_ms: float
    alone_p99_ms: float
    loaded_p50_ms: float
    loaded_p99_ms: float
    low_nodes_per_s: float

    @property
    def ratio(self) -> float:
        return self.loaded_p99_ms / self.alone_p99_ms


class Throughput(Document):
    """Nodes a second with so many pipelines under way."""

    pipelines: int
    nodes_per_s: float
    per_core: float
    published_per_core: float | None


class Reaction(Document):
    """From a change of a key to its pipeline's result: by an event, and by polling."""

    changes: int
    event_p50_ms: float
    polled_p50_ms: float
    event_per_s: float
    polled_per_s: float
    poll_every_ms: float


class DagFigures(Document):
    """All parts that were measured."""

    machine: str
    cores: int
    load: float
    makespan: tuple[Makespan, ...] = ()
    overhead: tuple[Overhead, ...] = ()
    growth: tuple[Growth, ...] = ()
    transitions_per_s: float | None = None
    durable_nodes_per_s: float | None = None
    inversion: Inversion | None = None
    throughput: tuple[Throughput, ...] = ()
    reaction: Reaction | None = None
