"""What the emulated stack is like before any plan is judged: how fast its tiers really are, what messaging costs.

Measured under CALIBRATION, which no plan is evaluated under, with raw frames and two cuts: a profile's times hold
in a busy loop, while tiers compute after pauses, and coding a frame costs something beside its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tercet.documents import write_document
from tercet.frame_record import FrameRecord
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.bench.oracle_conditions import CALIBRATION, LinkPair, Slowdowns, StackFigures
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.frame_costs import transfer_ms
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.stack.fixed_plans import fixed_plans
from tercet_cloud.stack.local_stack import Emulation, local_stack
from tercet_cloud.stack.plan_meter import PlanMeter, PlanRun

FRAMES = 24
_TO_EDGE, _TO_CLOUD = "to-edge", "to-cloud"


@dataclass(frozen=True)
class PlanShare:
    """What a plan's tiers should take, from profiles without any slow-down: ms of computing, and of coding."""

    compute_ms: Mapping[Tier, float]
    coding_ms: Mapping[Tier, float]


async def calibrate_stack(
    store: Store,
    card: ModelCard,
    graph: OnnxGraph,
    costs: CostModel,
    cuts: tuple[frozenset[int], frozenset[int]],
    slowdowns: Slowdowns,
    photos: Path,
    folder: Path,
) -> StackFigures:
    """Measure on a stack of its own.

    Args:
        cuts: two places in the network, the first before the second, so that all tiers have something to compute.
        slowdowns: what tiers are told to emulate.
    """
    everything = frozenset(range(len(graph.operations)))
    candidates = {
        _TO_EDGE: Candidate(cuts[0], everything, ("raw", "raw")),
        _TO_CLOUD: Candidate(cuts[0], cuts[1], ("raw", "raw")),
    }
    rows = {
        name: PlanRow(name, candidate, costs.predict(candidate), 0.0, None)
        for name, candidate in candidates.items()
    }
    path = folder / "calibration.yaml"
    write_document(fixed_plans(deploy_plans(store, card, graph, costs.measurements.coding, rows)), path)
    emulation = Emulation(CALIBRATION.device_edge, CALIBRATION.edge_cloud, slowdowns.device, slowdowns.edge)
    async with local_stack(folder / "logs", store.root, path, emulation) as stack:
        meter = PlanMeter(stack, photos, folder)
        records = await meter.measure(PlanRun(path, tuple(candidates), FRAMES, 500))
    shares = {name: plan_share(costs, candidate) for name, candidate in candidates.items()}
    return stack_figures(
        records[_TO_EDGE],
        shares[_TO_EDGE],
        records[_TO_CLOUD],
        shares[_TO_CLOUD],
        CALIBRATION,
        costs.measurements.coding.answer_bytes,
    )


def plan_share(costs: CostModel, candidate: Candidate) -> PlanShare:
    """A raw plan's times at full speed, by tier."""
    measurements = costs.measurements
    where = candidate.assignment(measurements.graph)
    raw = costs.tariff.coded("raw")
    computing = (~where.at_edge_or_beyond, where.at_edge_or_beyond & ~where.in_cloud, where.in_cloud)
    coding = dict.fromkeys(Tier, 0.0)
    for link, (sender, receiver) in enumerate(((Tier.DEVICE, Tier.EDGE), (Tier.EDGE, Tier.CLOUD))):
        crossing = list(where.crossing(measurements.graph, link))
        coding[sender] += float(raw.encode_ms[crossing].sum())
        coding[receiver] += float(raw.decode_ms[crossing].sum())
    return PlanShare(
        {
            tier: float(measurements.op_ms[index, mask].sum()) + measurements.session_ms[index] * bool(mask.any())
            for index, (tier, mask) in enumerate(zip(Tier, computing, strict=True))
        },
        coding,
    )


def stack_figures(
    to_edge: Sequence[FrameRecord],
    edge_share: PlanShare,
    to_cloud: Sequence[FrameRecord],
    cloud_share: PlanShare,
    links: LinkPair,
    answer_bytes: float,
) -> StackFigures:
    """Effective slow-downs and overheads, from frames of a plan that ends at the edge and one that ends beyond.

    A link's overhead is what is left of a frame's latency when computing as measured, coding as tabled and slowed,
    round trip and bytes are taken off; the second link's is what is left beyond the first's.
    """
    slowdown = {
        tier: median(
            visit.compute_ms / share.compute_ms[tier]
            for records, share in ((to_edge, edge_share), (to_cloud, cloud_share))
            for record in records
            if (visit := record.visit(tier)) is not None and share.compute_ms[tier]
        )
        for tier in Tier
    }

    def left_ms(record: FrameRecord, share: PlanShare) -> float:
        computed_ms = sum(visit.compute_ms for visit in record.visits)
        coded_ms = sum(share.coding_ms[tier] * slowdown[tier] for tier in Tier)
        return record.latency_ms - computed_ms - coded_ms - network_ms(record, links, answer_bytes)

    first = median(left_ms(record, edge_share) for record in to_edge)
    both = median(left_ms(record, cloud_share) for record in to_cloud)
    return StackFigures(
        device_slowdown=round(slowdown[Tier.DEVICE], 4),
        edge_slowdown=round(slowdown[Tier.EDGE], 4),
        cloud_slowdown=round(slowdown[Tier.CLOUD], 4),
        device_edge_overhead_ms=round(max(0.0, first), 3),
        edge_cloud_overhead_ms=round(max(0.0, both - first), 3),
    )


def network_ms(record: FrameRecord, links: LinkPair, answer_bytes: float) -> float:
    """What the links that a frame crossed were told to take, both ways."""
    told_ms = 0.0
    for tier, link in ((Tier.EDGE, links.device_edge), (Tier.CLOUD, links.edge_cloud)):
        received = record.visit(tier)
        if received is not None:
            told_ms += link.round_trip_ms
            told_ms += transfer_ms(received.received_bytes, link.up_mbps) + transfer_ms(
                answer_bytes, link.down_mbps
            )
    return told_ms
