"""Which plan a frame takes: the one with the best predicted value under what links and tiers do now.

A plan's value is its agreement with the uncut model times the chance that its answer comes before the deadline,
less a little for the time it takes, so that among plans that are sure to be in time and equally good the quicker
wins.
A standing plan is left only for one that is better by a margin, so that noise does not make the choice flap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import erf, isfinite, sqrt

from tercet.adaptive.link_estimate import LinkEstimate
from tercet.errors import SpecError
from tercet.plans import Plan, PlanPrediction
from tercet.tiers import Tier

# What a whole deadline of latency costs in value, at most.
LATENCY_WEIGHT = 0.1
# Another plan replaces the standing one if its value is this much better, or no worse and its answer this much
# sooner: far from a deadline, time hardly shows in the value.
SWITCH_MARGIN = 0.01
SWITCH_LATENCY = 0.85
# An estimate this old has this much more spread than it had when it was new.
_AGE_SPREAD_PER_S = 0.02
# Busy times vary by about this share.
BUSY_SPREAD = 0.1
# Without a deadline times are compared as if this were one.
NO_DEADLINE_MS = 10_000.0


@dataclass(frozen=True)
class TierLoad:
    """A tier's state: time a frame waits there before it is computed, and actual over predicted busy time."""

    queue_ms: float = 0.0
    pace: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.queue_ms) and isfinite(self.pace)) or self.queue_ms < 0 or self.pace <= 0:
            raise SpecError(f"a queue of {self.queue_ms} ms and a pace of {self.pace} are no load")


@dataclass(frozen=True)
class Conditions:
    """What is believed now. A link that is down is None; `loads` lacks tiers that nothing is known of."""

    device_edge: LinkEstimate | None
    edge_cloud: LinkEstimate | None
    loads: Mapping[Tier, TierLoad] = field(default_factory=dict)

    def load(self, tier: Tier) -> TierLoad:
        return self.loads.get(tier, TierLoad())

    def as_planned(self) -> Conditions:
        """The same links and queues, with tiers that are as fast as was predicted."""
        return replace(self, loads={tier: TierLoad(load.queue_ms) for tier, load in self.loads.items()})


@dataclass(frozen=True)
class Forecast:
    """When an answer is expected: mean and standard deviation in ms, and the chance that there is one at all."""

    mean_ms: float
    spread_ms: float
    arrives: float = 1.0

    def in_time(self, deadline_ms: float | None) -> float:
        """The chance of an answer before the deadline, 0…1; normal, with the loss of the links."""
        if deadline_ms is None:
            return self.arrives
        distance = (deadline_ms - self.mean_ms) / (max(self.spread_ms, 1e-3) * sqrt(2))
        return self.arrives * 0.5 * (1 + erf(distance))


@dataclass(frozen=True)
class Choice:
    """The plan taken, what it is expected to do, and why it is not the one before (empty if it is)."""

    plan: Plan
    forecast: Forecast
    value: float
    why: str = ""


def forecast(plan: Plan, prediction: PlanPrediction, conditions: Conditions, start: Tier = Tier.DEVICE) -> Forecast:
    """What is expected of a frame that is now about to be computed on tier `start`."""
    mean_ms, variance, arrives = 0.0, 0.0, 1.0
    busy = {
        Tier.DEVICE: prediction.device_ms,
        Tier.EDGE: prediction.edge_ms,
        Tier.CLOUD: prediction.cloud_ms,
    }
    links = {
        Tier.EDGE: (prediction.device_edge_bytes, conditions.device_edge),
        Tier.CLOUD: (prediction.edge_cloud_bytes, conditions.edge_cloud),
    }
    for tier in list(Tier)[list(Tier).index(start) :]:
        if tier != start:
            size_bytes, link = links[tier]
            if size_bytes <= 0:
                break
            if link is None:
                return Forecast(float("inf"), 0.0, arrives=0.0)
            link_ms = link.transfer_ms(size_bytes + prediction.answer_bytes)
            mean_ms += link_ms
            variance += link.variance_ms2(link_ms) + (_AGE_SPREAD_PER_S * min(link.age_s, 60.0) * link_ms) ** 2
            arrives *= 1 - link.loss
        load = conditions.load(tier)
        tier_ms = busy[tier] * load.pace
        mean_ms += tier_ms + (load.queue_ms if busy[tier] else 0.0)
        variance += (BUSY_SPREAD * tier_ms) ** 2 + (load.queue_ms / 2) ** 2
    return Forecast(mean_ms, sqrt(variance), arrives)


def rescaled(prediction: PlanPrediction, paces: Mapping[Tier, float]) -> PlanPrediction:
    """The same plan on tiers that are slower or faster than was predicted."""
    return prediction.model_copy(
        update={
            "device_ms": prediction.device_ms * paces.get(Tier.DEVICE, 1.0),
            "edge_ms": prediction.edge_ms * paces.get(Tier.EDGE, 1.0),
            "cloud_ms": prediction.cloud_ms * paces.get(Tier.CLOUD, 1.0),
        }
    )


def value_of(prediction: PlanPrediction, expected: Forecast, deadline_ms: float | None) -> float:
    """See the module; 0…1, negative only for plans that would take longer than the deadline."""
    scale_ms = deadline_ms or NO_DEADLINE_MS
    lateness = min(expected.mean_ms / scale_ms, 10.0)
    return prediction.agreement * expected.in_time(deadline_ms) - LATENCY_WEIGHT * lateness


class PlanChooser:
    """Chooses among the plans of one table; remembers the standing one. Not thread-safe.

    Args:
        plans: at least one; all need `predicted`, as `tercet plan` writes it.
        start: the tier that chooses.
    Raises:
        SpecError: a plan without prediction.
    """

    def __init__(self, plans: Sequence[Plan], start: Tier = Tier.DEVICE) -> None:
        self._start = start
        self._plans = _predicted(plans)
        self._standing: str | None = None
        self.switches = 0

    @property
    def standing(self) -> str | None:
        """The id of the plan that frames take now; None before the first choice."""
        return self._standing

    @property
    def plan_ids(self) -> tuple[str, ...]:
        return tuple(plan.id for plan, _ in self._plans)

    def prediction(self, plan_id: str) -> PlanPrediction | None:
        """What is predicted of a plan now; None if it is none of these."""
        return next((prediction for plan, prediction in self._plans if plan.id == plan_id), None)

    def adopt(self, plans: Sequence[Plan]) -> None:
        """Choose among other plans from now on; the standing one stays if it is among them.

        Raises:
            SpecError: no plan, or one without prediction; the table is then as it was.
        """
        self._plans = _predicted(plans)
        if self._standing not in self.plan_ids:
            self._standing = None

    def withdraw(self, plan_id: str) -> bool:
        """Choose a plan no more; False if it is the last one, which stays, or none of these."""
        left = [(plan, prediction) for plan, prediction in self._plans if plan.id != plan_id]
        if not left or len(left) == len(self._plans):
            return False
        self._plans = left
        self._standing = None if self._standing == plan_id else self._standing
        return True

    def renew(self, paces: Mapping[Tier, float]) -> None:
        """Take what tiers were measured to need, actual over predicted, into the predictions from now on."""
        self._plans = [(plan, rescaled(prediction, paces)) for plan, prediction in self._plans]

    def choose(self, conditions: Conditions, deadline_ms: float | None) -> Choice:
        """The plan for a frame with `deadline_ms` left."""
        options = [self._option(plan, prediction, conditions, deadline_ms) for plan, prediction in self._plans]
        best = max(options, key=lambda option: (option.value, option.plan.id == self._standing))
        standing = next((option for option in options if option.plan.id == self._standing), None)
        if standing is not None and not _clearly_better(best, standing):
            return standing
        if standing is None:
            self._standing = best.plan.id
            return best
        self.switches += 1
        self._standing = best.plan.id
        return Choice(best.plan, best.forecast, best.value, why=_why(standing, best, deadline_ms))

    def best(self, conditions: Conditions, deadline_ms: float | None) -> Plan:
        """The plan of the best value now; the standing one is not looked at, and stays."""
        options = (self._option(plan, prediction, conditions, deadline_ms) for plan, prediction in self._plans)
        return max(options, key=lambda option: option.value).plan

    def _option(
        self, plan: Plan, prediction: PlanPrediction, conditions: Conditions, deadline_ms: float | None
    ) -> Choice:
        expected = forecast(plan, prediction, conditions, self._start)
        return Choice(plan, expected, value_of(prediction, expected, deadline_ms))


def _predicted(plans: Sequence[Plan]) -> list[tuple[Plan, PlanPrediction]]:
    found = []
    for plan in plans:
        if plan.predicted is None:
            raise SpecError(
                f"plan {plan.id} has no prediction, so it cannot be chosen by one: make the deployment with "
                "`tercet plan --table`"
            )
        found.append((plan, plan.predicted))
    if not found:
        raise SpecError("there is no plan to choose from")
    return found


def _clearly_better(option: Choice, standing: Choice) -> bool:
    sooner = option.forecast.mean_ms <= SWITCH_LATENCY * standing.forecast.mean_ms
    return option.value > standing.value + SWITCH_MARGIN or (sooner and option.value > standing.value)


def _why(before: Choice, after: Choice, deadline_ms: float | None) -> str:
    def told(choice: Choice) -> str:
        chance = f", {choice.forecast.in_time(deadline_ms):.0%} in time" if deadline_ms else ""
        mean_ms = choice.forecast.mean_ms
        return (
            f"{choice.plan.id} ({mean_ms:.0f} ms{chance})" if isfinite(mean_ms) else f"{choice.plan.id} (link down)"
        )

    return f"{told(after)} instead of {told(before)}"
