"""Why nothing keeps all constraints, and how far each would have to be relaxed.

Every figure is an optimum: the smallest value of one limit's quantity over all plans that keep the others, accuracy
included. So what the text asks for is enough, and less is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from typing import NoReturn

from tercet.errors import InfeasibleError
from tercet.tiers import Tier
from tercet_cloud.measurement.drop_bound import counted_bound
from tercet_cloud.planner.costs.candidate import MeasuredAccuracy
from tercet_cloud.planner.costs.topology import Topology
from tercet_cloud.planner.cuts.exact import Limit

# Beyond this, more frames are no advice.
_MOST_FRAMES = 100_000

# The smallest value of a limit's quantity over all plans of a topology, or what is smallest by its objective if no
# limit is named; None if there is no plan.
Least = Callable[[Topology, Limit | None], float | None]


def raise_infeasible(
    topology: Topology, limits: Sequence[Limit], accuracies: Sequence[MeasuredAccuracy], least: Least
) -> NoReturn:
    """InfeasibleError naming what binds.

    Args:
        limits: one of each name.
        accuracies: what was measured of plans that keep everything else.
    """
    ways = []
    for limit in limits:
        needed = least(with_limit(topology, limit.name, None), limit)
        if needed is not None:
            ways.append(f"raise {_change(limit, needed)}")
    constraints = topology.constraints
    if constraints.private_input:
        public = topology.model_copy(
            update={"constraints": constraints.model_copy(update={"private_input": False})}
        )
        if least(public, None) is not None:
            ways.append("allow the raw input to leave the device (private_input: false)")
    what = "no plan keeps all constraints"
    if accuracies:
        allowed = constraints.max_accuracy_drop or 0.0
        best = min(accuracies, key=lambda accuracy: accuracy.drop_bound)
        what += (
            f": of {len(accuracies)} measured that keep the others, the smallest upper bound of the accuracy drop "
            f"is {best.drop_bound:.4f} (agreement {best.agreement:.4f} on {best.frames} frames), "
            f"allowed {allowed:g}"
        )
        ways.insert(0, f"allow max_accuracy_drop {rounded_up(best.drop_bound)}")
        frames = frames_needed(best, allowed)
        if frames is not None:
            ways.insert(1, f"measure on {frames} frames (--frames), if agreement stays as it is")
    if not ways:
        together = _together(topology, limits, least)
        raise InfeasibleError(f"{what}, and no single one is to blame: {' and '.join(together)}")
    raise InfeasibleError(f"{what}: {'; or '.join(ways)}")


def with_limit(topology: Topology, name: str, bound: float | None) -> Topology:
    """The topology with another bound of one limit, by the name that `CostModel` gives it; None for no bound."""
    fields = {
        "deadline": "deadline_ms",
        "device energy": "max_device_energy_mj",
        "device memory": "max_device_memory_mb",
    }
    constraints, tiers = topology.constraints, topology.tiers
    if name in fields:
        constraints = constraints.model_copy(update={fields[name]: bound})
    for tier in Tier:
        if name == f"{tier} memory":
            # The device's bound stands among the constraints already.
            memory_mb = None if tier is Tier.DEVICE else bound
            changed = topology.tiers.of(tier).model_copy(update={"memory_mb": memory_mb})
            tiers = tiers.model_copy(update={tier.value: changed})
    return topology.model_copy(update={"constraints": constraints, "tiers": tiers})


def _together(topology: Topology, limits: Sequence[Limit], least: Least) -> list[str]:
    """Raises that are enough together: each limit in turn to the least that those before it leave."""
    relaxed = topology
    for limit in limits:
        relaxed = with_limit(relaxed, limit.name, None)
    raises = []
    for limit in limits:
        needed = least(relaxed, limit)
        if needed is not None and needed > limit.bound:
            raises.append(f"raise {_change(limit, needed)}")
            relaxed = with_limit(relaxed, limit.name, float(rounded_up(needed)))
        else:
            relaxed = with_limit(relaxed, limit.name, limit.bound)
    return raises or ["no cut is possible with these codecs"]


def _change(limit: Limit, needed: float) -> str:
    return f"{limit.name} from {limit.bound:g} to {rounded_up(needed)} {limit.unit}"


def frames_needed(accuracy: MeasuredAccuracy, allowed: float) -> int | None:
    """Evaluation frames at which the same rate of disagreement would be certain enough; None if no number is.

    Exact for metrics that are counted, near for others.
    """
    rate = accuracy.drop
    if rate >= allowed or allowed <= 0:
        return None
    frames = accuracy.frames
    while frames <= _MOST_FRAMES:
        wrong = ceil(rate * frames - 1e-9)
        if counted_bound(wrong, frames) <= allowed:
            return frames
        frames += max(1, frames // 50)
    return None


def rounded_up(value: float) -> str:
    """Three digits, never less than the value."""
    if value <= 0:
        return "0"
    step = 10.0 ** (floor(log10(value)) - 2)
    return f"{ceil(value / step - 1e-9) * step:.10g}"
