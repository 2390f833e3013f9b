"""What a node knows of the links and tiers ahead, learnt from the routes of answers.

Every answer says how long each tier had the frame, how long it waited there, and how long a frame that comes now
would wait; a tier's wait less the next tier's own time is the link between them. An edge adds what it knows of its
link to the cloud, so that a device knows it even while its plans end at the edge.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import inf

from tercet.adaptive.link_estimate import LinkEstimate, LinkEstimator
from tercet.adaptive.plan_choice import Conditions, TierLoad
from tercet.plans import PlanPrediction
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb

log = logging.getLogger(__name__)

# What is believed of a link before its first frame.
UNKNOWN_LINK = LinkEstimate(goodput_mbps=10.0, round_trip_ms=10.0, spread_share=0.5)
_PACE_MEMORY = 0.2
# What a tier said of its queue is forgotten at this rate: a queue that nobody mentions any more has gone.
_QUEUE_MEMORY_S = 2.0
_BUSY_FLOOR_MS = 0.2


class ConditionTracker:
    """The view of one node. Not thread-safe; times are seconds of any one monotonic clock.

    Args:
        own: the tier it looks from.
    """

    def __init__(
        self, own: Tier, *, device_edge: LinkEstimate = UNKNOWN_LINK, edge_cloud: LinkEstimate = UNKNOWN_LINK
    ) -> None:
        self._own = own
        self._device_edge = LinkEstimator(device_edge)
        self._edge_cloud = LinkEstimator(edge_cloud)
        # An edge's own word on its uplink, and when it came.
        self._told: tuple[pb.LinkReport, float] | None = None
        self._queues: dict[Tier, tuple[float, float]] = {}
        self._paces: dict[Tier, float] = {}
        self.uplink_down = False

    @property
    def first_link(self) -> LinkEstimator:
        """The link that starts at this node."""
        return self._device_edge if self._own == Tier.DEVICE else self._edge_cloud

    def learn(
        self, visits: Sequence[pb.Visit], answer_bytes: int, now_s: float, predicted: PlanPrediction | None = None
    ) -> None:
        """Take in an answer's route, own visit first. What a peer claims is checked for sense, then believed."""
        by_tier = {tier: visit for visit in visits if (tier := Tier.from_wire(visit.tier)) is not None}
        for sender, receiver, estimator in (
            (Tier.DEVICE, Tier.EDGE, self._device_edge),
            (Tier.EDGE, Tier.CLOUD, self._edge_cloud),
        ):
            near, far = by_tier.get(sender), by_tier.get(receiver)
            if near is not None and far is not None and near.beyond_us >= far.total_us:
                link_ms = (near.beyond_us - far.total_us) / 1000
                estimator.answered(far.received_bytes + answer_bytes, link_ms, now_s)
                if receiver == Tier.CLOUD:
                    self._told = None
        for tier, visit in by_tier.items():
            self._learn_load(tier, visit, now_s, predicted)
        edge = by_tier.get(Tier.EDGE)
        if self._own == Tier.DEVICE and edge is not None and edge.HasField("uplink"):
            self._told = (edge.uplink, now_s)

    def conditions(self, now_s: float, *, online: bool = True) -> Conditions:
        """What is believed now; `online` says whether the node's own link is up."""
        first = self.first_link.estimate(now_s) if online else None
        loads = {
            tier: TierLoad(self._queue_ms(tier, now_s), self._paces.get(tier, 1.0))
            for tier in self._queues.keys() | self._paces.keys()
        }
        if self._own == Tier.EDGE:
            return Conditions(None, first, loads)
        return Conditions(first, self._second_link(now_s), loads)

    def _second_link(self, now_s: float) -> LinkEstimate | None:
        if self._told is None:
            return self._edge_cloud.estimate(now_s)
        report, told_s = self._told
        if report.down:
            return None
        if not report.goodput_kbps:
            return self._edge_cloud.estimate(now_s)
        return LinkEstimate(
            goodput_mbps=report.goodput_kbps / 1000,
            round_trip_ms=report.round_trip_us / 1000,
            loss=min(1.0, report.loss_per_mille / 1000),
            spread_share=0.1,
            age_s=report.age_ms / 1000 + max(0.0, now_s - told_s),
        )

    @property
    def paces(self) -> dict[Tier, float]:
        """Actual over predicted busy time of every tier that was seen."""
        return dict(self._paces)

    def forget_paces(self) -> None:
        """Predictions were renewed: tiers are measured against them anew."""
        self._paces.clear()

    def report(self, now_s: float) -> pb.LinkReport:
        """What this edge says of its uplink in every answer."""
        estimate = self._edge_cloud.estimate(now_s)
        if estimate.age_s == inf:
            return pb.LinkReport(down=self.uplink_down)
        return pb.LinkReport(
            goodput_kbps=max(1, round(min(estimate.goodput_mbps, 4e6) * 1000)),
            round_trip_us=round(min(estimate.round_trip_ms, 4e6) * 1000),
            loss_per_mille=round(estimate.loss * 1000),
            age_ms=round(min(estimate.age_s, 4e6) * 1000),
            down=self.uplink_down,
        )

    def _learn_load(self, tier: Tier, visit: pb.Visit, now_s: float, predicted: PlanPrediction | None) -> None:
        if tier != self._own:
            self._queues[tier] = (visit.expected_queue_us / 1000, now_s)
        if predicted is None:
            return
        expected_ms = {
            Tier.DEVICE: predicted.device_ms,
            Tier.EDGE: predicted.edge_ms,
            Tier.CLOUD: predicted.cloud_ms,
        }[tier]
        busy_ms = (visit.decode_us + visit.compute_us + visit.encode_us) / 1000
        if expected_ms >= _BUSY_FLOOR_MS and busy_ms > 0:
            pace = self._paces.get(tier, 1.0)
            self._paces[tier] = pace + _PACE_MEMORY * (min(busy_ms / expected_ms, 100.0) - pace)

    def _queue_ms(self, tier: Tier, now_s: float) -> float:
        told_ms, told_s = self._queues.get(tier, (0.0, now_s))
        age_s = max(0.0, now_s - told_s)
        return told_ms * max(0.0, 1 - age_s / _QUEUE_MEMORY_S)
