"""A candidate plan: two cuts and two codecs, its predicted cost, and the accuracy it was measured to have."""

from __future__ import annotations

from dataclasses import dataclass

from tercet_cloud.planner.cuts.cut_graph import Assignment, CutGraph


@dataclass(frozen=True)
class Candidate:
    """`device` and `until_cloud` are the operations before each link; `codecs` are titles of the menu.

    A link that is not used has the codec "raw". If the cloud is used and the edge computes nothing, equal codecs
    mean that it passes the frame on as it came; different ones that it decodes and codes anew.
    """

    device: frozenset[int]
    until_cloud: frozenset[int]
    codecs: tuple[str, str]

    def assignment(self, graph: CutGraph) -> Assignment:
        return Assignment.of_cuts(graph, self.device, self.until_cloud)

    def crossing(self, graph: CutGraph, link: int) -> tuple[str, ...]:
        """Names of the tensors that cross a link; the boundary to slice at."""
        return tuple(graph.tensors[index].name for index in self.assignment(graph).crossing(graph, link))


@dataclass(frozen=True)
class Prediction:
    """One frame under a candidate. Times in ms; tier times include coding, link times the answer's way back.

    `bottleneck_ms` is the busiest stage (tier per worker, or link), so 1000 / bottleneck_ms frames per second.
    `cost` is money, in the topology's currency. Energy is the device's.
    """

    device_ms: float
    device_edge_ms: float
    edge_ms: float
    edge_cloud_ms: float
    cloud_ms: float
    device_edge_bytes: float
    edge_cloud_bytes: float
    device_energy_mj: float
    device_memory_bytes: float
    cost: float
    bottleneck_ms: float

    @property
    def latency_ms(self) -> float:
        return self.device_ms + self.device_edge_ms + self.edge_ms + self.edge_cloud_ms + self.cloud_ms


@dataclass(frozen=True)
class MeasuredAccuracy:
    """Of one candidate on calibration inputs.

    Attributes:
        metric: what `agreement` (0…1, with the uncut model) means, by the card's task.
        low, high: its 95 % confidence interval.
        drop: 1 - agreement; for labelled inputs the loss of the labelled metric.
        drop_bound: upper confidence bound of the drop; what the constraint is held against. 0 for lossless codecs.
        labelled: the labelled metric itself, of the candidate and of the uncut model; None without labels.
        frames: calibration inputs used.
    """

    metric: str
    agreement: float
    low: float
    high: float
    drop: float
    drop_bound: float
    frames: int
    labelled: tuple[float, float] | None = None
