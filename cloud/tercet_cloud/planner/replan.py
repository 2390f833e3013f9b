"""Another plan table for a node whose predictions did not hold, over blocks that are deployed already.

Every pair of boundaries with every pair of codings whose accuracy was measured is priced by what tiers and links
were seen to do; then the few plans are kept of which one is nearly the best at any speed of the links around what
it is now. Pure: a second or less for a dozen blocks, and nothing is measured, sliced or loaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erf

from tercet.adaptive.link_estimate import LinkEstimate
from tercet.adaptive.plan_choice import BUSY_SPREAD, LATENCY_WEIGHT, NO_DEADLINE_MS, Conditions, rescaled
from tercet.block_costs import BlockCosts, BoundaryCoding
from tercet.errors import InfeasibleError
from tercet.plans import Plan, PlanPrediction
from tercet.tiers import Tier
from tercet_cloud.planner.cuts.linear_cost import Float64Array
from tercet_cloud.planner.table.plan_cover import smallest_cover

SLACK = 0.05
MAX_PLANS = 12
# Of the speeds of both links, around the present estimates.
SPEEDS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
_NO_CODING = BoundaryCoding(spec="raw", bytes=0, encode_ms=0, decode_ms=0, agreement=1, lossless=True)


@dataclass(frozen=True)
class Holdings:
    """Which blocks the tiers can run: the device so many from the first one, edge and cloud those named."""

    device_segments: int
    edge_segments: frozenset[int]
    cloud_segments: frozenset[int]

    def allow(self, device_until: int, edge_until: int, last: int) -> bool:
        return (
            device_until <= self.device_segments
            and self.edge_segments.issuperset(range(device_until, edge_until))
            and self.cloud_segments.issuperset(range(edge_until, last))
        )


def replan(
    costs: BlockCosts,
    paces: Mapping[Tier, float],
    links: tuple[LinkEstimate, LinkEstimate],
    deadline_ms: float | None,
    holdings: Holdings,
    *,
    max_plans: int = MAX_PLANS,
) -> tuple[Plan, ...]:
    """The table, plans of most use first, and the one that keeps all on the device if the device holds all.

    Args:
        paces: time that tiers need over what `costs` says; 1 where nothing is known.
        links: device to edge, edge to cloud.
        max_plans: where more would be needed to be within 5 % everywhere, the slack grows.
    Returns:
        plans with canonical ids, and with predictions at the given paces. Under each of `conditions_around(links)`
        one has a value within 5 % of the best of all plans, and is at most 5 % slower than it.
    Raises:
        InfeasibleError: no plan fits what the tiers hold.
    """
    plans = list(every_plan(costs, paces, holdings))
    if not plans:
        raise InfeasibleError(
            f"no plan for {costs.model} fits the segments that the tiers hold: copy more of them to device or edge"
        )
    gaps = _gaps([plan.predicted for plan in plans if plan.predicted], conditions_around(links), deadline_ms)
    pool = sorted(set(gaps.argmin(axis=1).tolist()))
    chosen, slack = list[int](), SLACK
    while not chosen or len(chosen) > max_plans:
        found = smallest_cover(gaps[:, pool], [], slack)
        chosen = [pool[place] for place in found or []]
        slack *= 2
    used = np.bincount(gaps[:, chosen].argmin(axis=1), minlength=len(chosen))
    table = [plans[chosen[place]] for place in np.argsort(-used, kind="stable")]
    alone = next((plan for plan in plans if plan.device_until == costs.last_boundary), None)
    if alone is not None and alone not in table:
        table.append(alone)
    return tuple(table)


def every_plan(costs: BlockCosts, paces: Mapping[Tier, float], holdings: Holdings) -> Iterator[Plan]:
    """All plans that the tiers can run with codings that may be worth it, predicted at their paces."""
    last = costs.last_boundary
    barred = set(costs.barred_cuts)
    offered = [worthwhile_codings(costs, boundary) for boundary in range(last)] + [[_NO_CODING]]
    for device_until, edge_until in itertools.combinations_with_replacement(range(last + 1), 2):
        if (device_until, edge_until) in barred or not holdings.allow(device_until, edge_until, last):
            continue
        for first, second in itertools.product(offered[device_until], offered[edge_until]):
            plan = costs.plan(device_until, edge_until, first.spec, second.spec)
            if plan is not None and plan.predicted is not None:
                yield plan.model_copy(update={"predicted": rescaled(plan.predicted, paces)})


def worthwhile_codings(costs: BlockCosts, boundary: int) -> list[BoundaryCoding]:
    """Codings that were measured, and that no other one there betters in everything.

    Those of a measured pair stay: another coding may be better alone, but nothing was measured of it in the pair.
    """
    paired = {
        (place, spec)
        for pair in costs.pairs
        for place, spec in zip((pair.first, pair.second), pair.codecs, strict=True)
    }
    measured = [
        coding
        for coding in costs.boundaries[boundary]
        if coding.agreement is not None or (boundary, coding.spec) in paired
    ]
    return [
        coding
        for place, coding in enumerate(measured)
        if (boundary, coding.spec) in paired
        or not any(
            _betters(other, coding) and (other_place < place or not _betters(coding, other))
            for other_place, other in enumerate(measured)
            if other_place != place
        )
    ]


def _betters(one: BoundaryCoding, other: BoundaryCoding) -> bool:
    """No worse in anything. A lossless one may stand beside a lossy one on the other link, so it is better only."""
    return (
        one.bytes <= other.bytes
        and one.encode_ms <= other.encode_ms
        and one.decode_ms <= other.decode_ms
        and (one.agreement or 0) >= (other.agreement or 0)
        and one.lossless >= other.lossless
    )


def conditions_around(links: tuple[LinkEstimate, LinkEstimate]) -> list[Conditions]:
    """Both links at speeds from an eighth to eight times the present, and the second one down."""
    first, second = (
        [replace(link, goodput_mbps=link.goodput_mbps * factor, age_s=0.0) for factor in SPEEDS] for link in links
    )
    return [Conditions(one, other) for one, other in itertools.product(first, [*second, None])]


class PlanColumns:
    """Predictions of many plans as arrays, and `plan_choice`'s forecast and value of all of them at once."""

    def __init__(self, predictions: Sequence[PlanPrediction]) -> None:
        def column(read: Callable[[PlanPrediction], float]) -> Float64Array:
            return np.array([read(prediction) for prediction in predictions], np.float64)

        self._busy_ms = [column(lambda p: p.device_ms), column(lambda p: p.edge_ms), column(lambda p: p.cloud_ms)]
        self._sent = [column(lambda p: p.device_edge_bytes), column(lambda p: p.edge_cloud_bytes)]
        self._answer_bytes = column(lambda p: p.answer_bytes)
        self._agreement = column(lambda p: p.agreement)

    def judged(self, conditions: Conditions, deadline_ms: float | None) -> tuple[Float64Array, Float64Array]:
        """(plans,) mean ms until the answer, infinite where a link is down; and (plans,) values."""
        mean_ms = np.sum(self._busy_ms, axis=0)
        variance = np.sum([(BUSY_SPREAD * busy) ** 2 for busy in self._busy_ms], axis=0)
        arrives = np.ones_like(mean_ms)
        for sent, link in zip(self._sent, (conditions.device_edge, conditions.edge_cloud), strict=True):
            used = sent > 0
            if link is None:
                mean_ms = np.where(used, np.inf, mean_ms)
                arrives = np.where(used, 0.0, arrives)
                continue
            link_ms = link.round_trip_ms + (sent + self._answer_bytes) * 8 / (link.goodput_mbps * 1000)
            mean_ms = mean_ms + np.where(used, link_ms, 0.0)
            variance = variance + np.where(used, link.spread_ms**2 + (link.spread_share * link_ms) ** 2, 0.0)
            arrives = arrives * np.where(used, 1 - link.loss, 1.0)
        in_time = arrives
        if deadline_ms is not None:
            distance = (deadline_ms - mean_ms) / (np.maximum(np.sqrt(variance), 1e-3) * np.sqrt(2))
            in_time = arrives * 0.5 * (1 + erf(distance))
        lateness = np.minimum(mean_ms / (deadline_ms or NO_DEADLINE_MS), 10.0)
        return mean_ms, self._agreement * in_time - LATENCY_WEIGHT * lateness


def _gaps(
    predictions: Sequence[PlanPrediction], conditions: Sequence[Conditions], deadline_ms: float | None
) -> Float64Array:
    """(conditions, plans): by how much a plan's value, or its latency if that is more, is worse than the best's."""
    columns = PlanColumns(predictions)
    gaps = np.zeros((len(conditions), len(predictions)))
    for row, state in enumerate(conditions):
        mean_ms, values = columns.judged(state, deadline_ms)
        best = int(values.argmax())
        # Where no plan gets an answer, none is better than another.
        if np.isfinite(mean_ms[best]):
            less = (values[best] - values) / max(abs(float(values[best])), 1e-9)
            gaps[row] = np.maximum(less, mean_ms / max(float(mean_ms[best]), 1e-9) - 1)
    return np.maximum(gaps, 0.0)
