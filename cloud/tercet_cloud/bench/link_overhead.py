"""What messaging costs a frame on each link beside round trip and bytes: measured with small raw frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tercet.documents import write_document
from tercet.frame_record import FrameRecord
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.plans import Deployment, Plan
from tercet.tiers import Tier
from tercet_cloud.bench.oracle_conditions import CALIBRATION, LinkOverheads, LinkPair, Slowdowns
from tercet_cloud.bench.oracle_stack import StackMeter, StackRun
from tercet_cloud.models.slicing import slice_into_store
from tercet_cloud.planner.coding_table import CodingTable
from tercet_cloud.planner.frame_costs import transfer_ms
from tercet_cloud.stack.local_stack import Emulation, local_stack

FRAMES = 24
_TO_EDGE, _TO_CLOUD = "to-edge", "to-cloud"


async def measure_overheads(
    store: Store,
    card: ModelCard,
    coding: CodingTable,
    cuts: Sequence[tuple[str, ...]],
    slowdowns: Slowdowns,
    photos: Path,
    folder: Path,
) -> LinkOverheads:
    """On a stack of its own, under CALIBRATION, which no plan is evaluated under.

    Args:
        cuts: two boundaries, the first before the second, with small tensors.
    """
    manifest = slice_into_store(store, card.name, cuts)
    deployment = Deployment(
        model=manifest.ref,
        plans=(
            Plan(id=_TO_EDGE, device_until=1, edge_until=3),
            Plan(id=_TO_CLOUD, device_until=1, edge_until=2),
        ),
    )
    path = folder / "calibration.yaml"
    write_document(deployment, path)
    emulation = Emulation(CALIBRATION.device_edge, CALIBRATION.edge_cloud, slowdowns.device, slowdowns.edge)
    async with local_stack(folder / "logs", store.root, path, emulation) as stack:
        meter = StackMeter(stack, photos, folder)
        records = await meter.measure(StackRun(path, (_TO_EDGE, _TO_CLOUD), FRAMES, 500))
    answer_bytes = coding.answer_bytes
    first = median(overhead_ms(record, CALIBRATION, answer_bytes) for record in records[_TO_EDGE])
    both = median(overhead_ms(record, CALIBRATION, answer_bytes) for record in records[_TO_CLOUD])
    return LinkOverheads(round(max(0.0, first), 3), round(max(0.0, both - first), 3))


def overhead_ms(record: FrameRecord, links: LinkPair, answer_bytes: float) -> float:
    """A frame's latency less what tiers computed and coded, less what its links were told to take."""
    left_ms = record.latency_ms
    for visit in record.visits:
        left_ms -= visit.compute_ms + visit.encode_ms + visit.decode_ms
    for tier, link in ((Tier.EDGE, links.device_edge), (Tier.CLOUD, links.edge_cloud)):
        if received := record.visit(tier):
            left_ms -= link.round_trip_ms
            left_ms -= transfer_ms(received.received_bytes, link.up_mbps) + transfer_ms(
                answer_bytes, link.down_mbps
            )
    return left_ms
