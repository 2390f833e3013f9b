"""Measurements and a topology made into linear costs: what every codec pair costs on every cut.

Pure arithmetic. A tier's own coding times are those of the coding table times the tier's slow-down.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tercet.errors import SpecError
from tercet.tiers import Tier
from tercet_cloud.planner.costs.candidate import Candidate, Prediction
from tercet_cloud.planner.costs.codec_pairs import worthwhile_pairs
from tercet_cloud.planner.costs.frame_costs import MEGA, FrameCosts, FrameTariff, ModelMeasurements, transfer_ms
from tercet_cloud.planner.costs.topology import Constraints, Topology, Weights
from tercet_cloud.planner.cuts.cut_graph import Assignment, Mask
from tercet_cloud.planner.cuts.exact import CutProblem, CutSolution, Limit
from tercet_cloud.planner.cuts.linear_cost import LinearCost

__all__ = ["CostModel", "ModelMeasurements"]

# Among plans that are equal by an objective that is not latency, the quicker: a ms counts this much of its unit.
TIE_BREAK = 1e-4
UNUSED_CODEC = "raw"
_BYTES_PER_KB = 1e3
# So that a plan at its limit, as a solver finds it, is within.
_ROUNDING = 1e-6

_OBJECTIVES = {
    "latency": Weights(latency_ms=1),
    "throughput": Weights(throughput_ms=1, latency_ms=TIE_BREAK),
    "energy": Weights(energy_mj=1, latency_ms=TIE_BREAK),
    "bytes": Weights(device_edge_kb=1, edge_cloud_kb=1, latency_ms=TIE_BREAK),
}


class CostModel:
    """Prices candidates under one topology.

    Promise: for every candidate, `problem(codecs)`'s additive cost of its assignment, and its stages, equal the
    objective computed from `predict(candidate)`, except that a frame handed on by the edge is priced there as if
    coded anew; `pass_through_problem` prices it as it is.

    Semantics, all in ms of one frame on idle machines:
        tier        its operations, its session, decoding what came, encoding what goes, each times its slow-down.
                    An edge that only codes anew is charged its session too; one that hands on is charged nothing.
        link        if used: round trip, messaging overhead, header and tensors up, the answer down.
        memory      weights, the largest activation of the whole model, and on the device the runtime: an upper
                    bound as far as activations go, and what the limits are held against.
        objective   "bytes" are both links' together, in KB; every objective but latency and weights adds
                    `TIE_BREAK` × latency, so that of equal plans the quicker wins.
    """

    def __init__(self, measurements: ModelMeasurements, topology: Topology) -> None:
        self.measurements = measurements
        self.topology = topology
        self.tariff = FrameTariff(measurements, topology)
        objective = topology.objective
        self.weights = objective if isinstance(objective, Weights) else _OBJECTIVES[objective]

    def under(self, topology: Topology) -> CostModel:
        """The same measurements under another topology."""
        return CostModel(self.measurements, topology)

    def codec_pairs(self) -> list[tuple[str, str]]:
        """Pairs of menu titles worth solving; `codec_pairs` argues why no other can be better."""
        codecs = self.measurements.coding.codecs
        inputs = list(self.measurements.graph.inputs)
        usable = [
            codec
            for codec in codecs
            if not codec.image
            or not (
                self.topology.constraints.private_input or self.tariff.coded(codec.title).impossible[inputs].any()
            )
        ]
        return worthwhile_pairs(usable, [self.tariff.coded(codec.title) for codec in usable])

    def problem(self, codecs: tuple[str, str], constraints: Constraints) -> CutProblem:
        """The cut problem of one codec pair; accuracy is not among its limits."""
        return self._problem(codecs, constraints, handed_on=False)

    def pass_through_problem(self, codec: str, constraints: Constraints) -> CutProblem:
        """The same where the edge only hands frames on: one cut for both links, coded once.

        Device and cloud are priced as the problem's device and edge, and its cloud is kept empty: the solution's
        operations before link 0 are those before both links (`candidate_of` turns it round; so an exclusion has
        to be `(device, None)`).
        """
        return self._problem((codec, codec), constraints, handed_on=True)

    def candidate_of(
        self, codecs: tuple[str, str], solution: CutSolution | Assignment, *, pass_through: bool = False
    ) -> Candidate:
        """The candidate that a solution of `problem` or `pass_through_problem` means."""
        found = solution.assignment if isinstance(solution, CutSolution) else solution
        device = found.before(0)
        until_cloud = device if pass_through else found.before(1)
        everything = len(self.measurements.graph.operations)
        return Candidate(
            device,
            until_cloud,
            (
                codecs[0] if len(device) < everything else UNUSED_CODEC,
                codecs[1] if len(until_cloud) < everything else UNUSED_CODEC,
            ),
        )

    def predict(self, candidate: Candidate) -> Prediction:
        """What one frame costs; SpecError if a codec cannot code what crosses."""
        tariff, graph = self.tariff, self.measurements.graph
        where = candidate.assignment(graph)
        device, edge, cloud = ~where.at_edge_or_beyond, where.at_edge_or_beyond & ~where.in_cloud, where.in_cloud
        handed_on = where.passes_edge and candidate.codecs[0] == candidate.codecs[1]
        busy = [float(tariff.op_ms[tier, mask].sum()) for tier, mask in enumerate((device, edge, cloud))]
        active = (bool(device.any()), where.uses(0) and not handed_on, where.uses(1))
        busy = [spent + (tariff.session_ms[tier] if active[tier] else 0) for tier, spent in enumerate(busy)]
        link_bytes, sending, link_ms = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
        answer_ms = [0.0, 0.0]
        for link in (0, 1):
            if not where.uses(link):
                continue
            crossing = list(where.crossing(graph, link))
            coded = tariff.coded(candidate.codecs[link])
            if coded.impossible[crossing].any():
                raise SpecError(self._uncoded(candidate, link, crossing))
            if not (handed_on and link == 1):
                busy[link] += float(coded.encode_ms[crossing].sum()) * tariff.slowdown[link]
            if not (handed_on and link == 0):
                busy[link + 1] += float(coded.decode_ms[crossing].sum()) * tariff.slowdown[link + 1]
            spec, coding = tariff.links[link], self.measurements.coding
            link_bytes[link] = float(coded.bytes[crossing].sum()) + coding.header_bytes
            sending[link] = transfer_ms(link_bytes[link], spec.up_mbps)
            answer_ms[link] = transfer_ms(coding.answer_bytes, spec.down_mbps)
            link_ms[link] = spec.round_trip_ms + spec.overhead_ms + sending[link] + answer_ms[link]
        stages = [*(spent / cores for spent, cores in zip(busy, tariff.cores, strict=True)), *sending, *answer_ms]
        money = sum(size * spec.cost_per_mb for size, spec in zip(link_bytes, tariff.links, strict=True))
        return Prediction(
            device_ms=float(busy[0]),
            device_edge_ms=link_ms[0],
            edge_ms=float(busy[1]),
            edge_cloud_ms=link_ms[1],
            cloud_ms=float(busy[2]),
            device_edge_bytes=link_bytes[0],
            edge_cloud_bytes=link_bytes[1],
            device_energy_mj=float(busy[0]) * tariff.active_power_w + sending[0] * tariff.links[0].transmit_power_w,
            device_memory_bytes=self._memory_mb(where)[0] * MEGA,
            cost=money / MEGA,
            bottleneck_ms=float(max(stages)),
        )

    def value(self, prediction: Prediction) -> float:
        """The objective."""
        weights = self.weights
        return (
            weights.latency_ms * prediction.latency_ms
            + weights.throughput_ms * prediction.bottleneck_ms
            + weights.energy_mj * prediction.device_energy_mj
            + weights.device_edge_kb * prediction.device_edge_bytes / _BYTES_PER_KB
            + weights.edge_cloud_kb * prediction.edge_cloud_bytes / _BYTES_PER_KB
            + weights.cost * prediction.cost
        )

    def broken(self, prediction: Prediction, candidate: Candidate, constraints: Constraints) -> str | None:
        """Which constraint (accuracy aside) a candidate breaks and by how much, in words; None if none."""
        graph = self.measurements.graph
        where = candidate.assignment(graph)
        if constraints.private_input and set(where.crossing(graph, 0)) & set(graph.inputs):
            return "private input: the raw input leaves the device"
        memory = self._memory_mb(where, handed_on=candidate.codecs[0] == candidate.codecs[1])
        figures = {
            "deadline": prediction.latency_ms,
            "device energy": prediction.device_energy_mj,
            **{f"{tier} memory": figure for tier, figure in zip(Tier, memory, strict=True)},
        }
        for name, bound, unit in self.bounds(constraints):
            over = figures[name] - bound
            if over > _ROUNDING * max(1.0, bound):
                return f"{name}: {figures[name]:.4g} {unit} is {over:.3g} {unit} over {bound:.4g} {unit}"
        return None

    def _problem(self, codecs: tuple[str, str], constraints: Constraints, *, handed_on: bool) -> CutProblem:
        graph = self.measurements.graph
        costs = self.tariff.costs(codecs, handed_on=handed_on)
        barred = np.stack([self.tariff.coded(title).impossible for title in codecs])
        if constraints.private_input:
            barred[0, list(graph.inputs)] = True
        pinned = self._pinned(codecs)
        if handed_on:
            barred = np.stack([barred.any(axis=0), np.zeros_like(barred[1])])
            pinned = (pinned[0], frozenset(range(len(graph.operations))))
        return CutProblem(
            graph=graph,
            additive=self._additive(costs),
            stages=costs.stages if self.weights.throughput_ms else (),
            stage_weight=self.weights.throughput_ms,
            limits=tuple(self._limits(costs, constraints)),
            barred=barred if barred.any() else None,
            pinned=pinned,
        )

    def _pinned(self, codecs: tuple[str, str]) -> tuple[frozenset[int] | None, frozenset[int] | None]:
        """Image codecs code what the model is given, so nothing is computed before."""
        image = [self.measurements.coding.codec(title).image for title in codecs]
        nothing = frozenset[int]()
        return (nothing if any(image) else None, nothing if image[1] else None)

    def _additive(self, costs: FrameCosts) -> LinearCost:
        weights = self.weights
        return (
            costs.latency_ms * weights.latency_ms
            + costs.energy_mj * weights.energy_mj
            + costs.link_bytes[0] * (weights.device_edge_kb / _BYTES_PER_KB)
            + costs.link_bytes[1] * (weights.edge_cloud_kb / _BYTES_PER_KB)
            + costs.money * weights.cost
        )

    def _limits(self, costs: FrameCosts, constraints: Constraints) -> Iterator[Limit]:
        kinds = {
            "deadline": costs.latency_ms,
            "device energy": costs.energy_mj,
            **{f"{tier} memory": cost for tier, cost in zip(Tier, costs.memory_mb, strict=True)},
        }
        for name, bound, unit in self.bounds(constraints):
            yield Limit(name, kinds[name], bound, unit)

    def bounds(self, constraints: Constraints) -> Iterator[tuple[str, float, str]]:
        """What is limited, to how much, in which unit."""
        if constraints.deadline_ms is not None:
            yield "deadline", constraints.deadline_ms, "ms"
        if constraints.max_device_energy_mj is not None:
            yield "device energy", constraints.max_device_energy_mj, "mJ"
        for tier in Tier:
            stated = [self.topology.tiers.of(tier).memory_mb]
            if tier is Tier.DEVICE:
                stated.append(constraints.max_device_memory_mb)
            bounds = [bound for bound in stated if bound is not None]
            if bounds:
                yield f"{tier} memory", min(bounds), "MB"

    def _memory_mb(self, where: Assignment, *, handed_on: bool = False) -> tuple[float, float, float]:
        tariff = self.tariff

        def held(mask: Mask, active: bool, more: float = 0.0) -> float:
            return float(tariff.weights_mb[mask].sum()) + (tariff.activation_mb + more if active else 0.0)

        beyond, cloud = where.masks
        edge_active = where.uses(0) and not (handed_on and where.passes_edge)
        return (
            held(~beyond, not beyond.all(), self.measurements.runtime_bytes / MEGA),
            held(beyond & ~cloud, edge_active),
            held(cloud, bool(cloud.any())),
        )

    def _uncoded(self, candidate: Candidate, link: int, crossing: list[int]) -> str:
        impossible = self.tariff.coded(candidate.codecs[link]).impossible
        name = next(self.measurements.graph.tensors[i].name for i in crossing if impossible[i])
        return f"codec {candidate.codecs[link]!r} cannot code tensor {name!r} (or was not measured on it)"
