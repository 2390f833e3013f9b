"""Every cost of a frame under one topology and codec pair, as linear costs over cuts.

Times in ms, energies in mJ (W × ms), memory in MB of 10^6 bytes, bytes as sent towards the cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tercet.errors import SpecError
from tercet.tiers import Tier
from tercet_cloud.planner.costs.topology import LinkSpec, Topology
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost
from tercet_cloud.planner.measuring.coding_table import CodingTable

MEGA = 1e6


def transfer_ms(size_bytes: float, mbps: float) -> float:
    """How long bytes take at 10^6 bits per second."""
    return size_bytes * 8 / (mbps * 1e3)


@dataclass(frozen=True)
class ModelMeasurements:
    """One model on all tiers, before any topology's stated slow-down.

    Attributes:
        op_ms: (3, operations) calibrated times by tier.
        session_ms: by tier, of one more session.
        weights_bytes: (operations,) weights an operation needs.
        activation_bytes: (operations,) its outputs, raw.
        runtime_bytes: what the device's process needs before any weights.
    """

    graph: CutGraph
    op_ms: Float64Array
    session_ms: tuple[float, float, float]
    weights_bytes: Float64Array
    activation_bytes: Float64Array
    runtime_bytes: float
    coding: CodingTable

    @cached_property
    def coded(self) -> dict[str, CodedTensors]:
        """The coding table as arrays, by title."""
        return {
            codec.title: CodedTensors.of(self.graph, self.coding, index)
            for index, codec in enumerate(self.coding.codecs)
        }


@dataclass(frozen=True)
class CodedTensors:
    """The coding table as arrays, (tensors,) each, for one codec: NaN where it cannot code a tensor."""

    bytes: Float64Array
    encode_ms: Float64Array
    decode_ms: Float64Array

    @classmethod
    def of(cls, graph: CutGraph, coding: CodingTable, codec: int) -> CodedTensors:
        rows = []
        for tensor in graph.tensors:
            entries = coding.tensors.get(tensor.name)
            entry = None if entries is None else entries[codec]
            rows.append((np.nan,) * 3 if entry is None else (entry.bytes, entry.encode_ms, entry.decode_ms))
        columns = np.array(rows, np.float64).reshape(len(rows), 3).T
        return cls(columns[0], columns[1], columns[2])

    @property
    def impossible(self) -> npt.NDArray[np.bool_]:
        return np.isnan(self.bytes)


@dataclass(frozen=True)
class FrameCosts:
    """All kinds of cost of one codec pair.

    `memory_mb` is by tier, the device's with its runtime; `stages` are what a pipeline of frames keeps busy: the
    three tiers per worker, both links up, both links down.
    """

    latency_ms: LinearCost
    energy_mj: LinearCost
    link_bytes: tuple[LinearCost, LinearCost]
    money: LinearCost
    memory_mb: tuple[LinearCost, LinearCost, LinearCost]
    stages: tuple[LinearCost, ...]


class FrameTariff:
    """Measurements under one topology: times with its slow-downs, links with its speeds.

    Attributes:
        op_ms: (3, operations); session_ms: (3,); cores: (3,); all by tier, slow-downs included.
    """

    def __init__(self, measurements: ModelMeasurements, topology: Topology) -> None:
        tiers = [topology.tiers.of(tier) for tier in Tier]
        self.measurements = measurements
        self.graph = measurements.graph
        self.slowdown = np.array([tier.slowdown for tier in tiers])
        self.cores = np.array([tier.cores for tier in tiers], np.float64)
        self.op_ms = measurements.op_ms * self.slowdown[:, None]
        self.session_ms = np.array(measurements.session_ms) * self.slowdown
        self.links: tuple[LinkSpec, LinkSpec] = (topology.links.device_edge, topology.links.edge_cloud)
        self.active_power_w = topology.tiers.device.active_power_w
        # The largest activation of the whole model, wherever it is cut, as a sum over operations holds no maximum:
        # never too little, and exact where the largest one is on the tier.
        self.activation_mb = float(measurements.activation_bytes.max(initial=0.0)) / MEGA
        self.weights_mb = measurements.weights_bytes / MEGA
        self._coded = measurements.coded

    def coded(self, title: str) -> CodedTensors:
        if title not in self._coded:
            raise SpecError(f"codec {title!r} is not on the measured menu ({', '.join(self._coded)})")
        return self._coded[title]

    def costs(self, codecs: tuple[str, str], *, handed_on: bool = False) -> FrameCosts:
        """Linear costs under a codec pair.

        Args:
            handed_on: the edge only hands frames on, for which both codecs must be equal. The costs are then
                those of a chain of device and cloud: read link 0 as both links, and the edge's row as the cloud's.
        """
        coding = self.measurements.coding
        coded = [self.coded(title) for title in codecs]
        sizes = [np.nan_to_num(item.bytes) for item in coded]
        encode = [np.nan_to_num(item.encode_ms) * self.slowdown[link] for link, item in enumerate(coded)]
        decode = [np.nan_to_num(item.decode_ms) * self.slowdown[link + 1] for link, item in enumerate(coded)]
        sessions = self.session_ms.copy()
        if handed_on:
            sessions[1] = 0
            decode[0] = np.zeros_like(decode[0])
            encode[1] = np.zeros_like(encode[1])

        # What keeps each tier busy, and each link upwards.
        device = self._cost(tier={0: self.op_ms[0]}, link={0: encode[0]}, device_used=sessions[0])
        edge = self._cost(tier={1: self.op_ms[1]}, link={0: decode[0], 1: encode[1]}, used=(sessions[1], 0))
        cloud = self._cost(tier={2: self.op_ms[2]}, link={1: decode[1]}, used=(0, sessions[2]))
        upward = [self._cost(link={link: sizes[link]}, used=_at(link, coding.header_bytes)) for link in (0, 1)]
        per_byte_ms = [transfer_ms(1, spec.up_mbps) for spec in self.links]
        sending = [upward[link] * per_byte_ms[link] for link in (0, 1)]
        waiting = [
            self._cost(used=_at(link, spec.round_trip_ms + spec.overhead_ms))
            for link, spec in enumerate(self.links)
        ]
        answers = [
            self._cost(used=_at(link, transfer_ms(coding.answer_bytes, self.links[link].down_mbps)))
            for link in (0, 1)
        ]
        costs = FrameCosts(
            latency_ms=sum((*sending, *waiting, *answers, edge, cloud), start=device),
            energy_mj=device * self.active_power_w + sending[0] * self.links[0].transmit_power_w,
            link_bytes=(upward[0], upward[1]),
            money=upward[0] * (self.links[0].cost_per_mb / MEGA) + upward[1] * (self.links[1].cost_per_mb / MEGA),
            memory_mb=self._memory(handed_on),
            stages=(
                *(cost * (1 / cores) for cost, cores in zip((device, edge, cloud), self.cores, strict=True)),
                *sending,
                *answers,
            ),
        )
        return _folded(costs) if handed_on else costs

    def _memory(self, handed_on: bool) -> tuple[LinearCost, LinearCost, LinearCost]:
        runtime_mb = self.measurements.runtime_bytes / MEGA
        activations = self.activation_mb
        return (
            self._cost(tier={0: self.weights_mb}, device_used=runtime_mb + activations),
            self._cost(tier={1: self.weights_mb}, used=(0 if handed_on else activations, 0)),
            self._cost(tier={2: self.weights_mb}, used=(0, activations)),
        )

    def _cost(
        self,
        *,
        tier: dict[int, Float64Array] | None = None,
        link: dict[int, Float64Array] | None = None,
        used: tuple[float, ...] = (0.0, 0.0),
        device_used: float = 0.0,
    ) -> LinearCost:
        cost = LinearCost.zero(self.graph)
        for index, values in (tier or {}).items():
            cost.on_tier[index] = values
        for index, values in (link or {}).items():
            cost.over_link[index] = values
        return LinearCost(cost.on_tier, cost.over_link, (float(used[0]), float(used[1])), float(device_used))


def _at(link: int, value: float) -> tuple[float, float]:
    return (value, 0.0) if link == 0 else (0.0, value)


def _folded(costs: FrameCosts) -> FrameCosts:
    """The costs of device and cloud alone: link 0 carries both links', the edge's row is the cloud's."""

    def fold(cost: LinearCost) -> LinearCost:
        on_tier = cost.on_tier[[0, 2, 2]]
        over_link = np.stack([cost.over_link.sum(axis=0), np.zeros(cost.over_link.shape[1])])
        return LinearCost(on_tier, over_link, (sum(cost.link_used), 0.0), cost.device_used)

    return FrameCosts(
        latency_ms=fold(costs.latency_ms),
        energy_mj=fold(costs.energy_mj),
        link_bytes=(fold(costs.link_bytes[0]), fold(costs.link_bytes[1])),
        money=fold(costs.money),
        memory_mb=(fold(costs.memory_mb[0]), fold(costs.memory_mb[1]), fold(costs.memory_mb[2])),
        stages=tuple(fold(stage) for stage in costs.stages),
    )
