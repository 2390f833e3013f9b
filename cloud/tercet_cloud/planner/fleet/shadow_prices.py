"""What to buy next: how much the fleet's objective falls with one step more of each shared resource.

The linear program's price of a resource holds at the margin and falls as one buys, so price × step is the most
that a step can gain. Steps are tried in the order of that bound until no other can gain more: the ranking is that
of solved programs, not of prices. Both are of the relaxation, in which devices are divisible and blocks of weights
can be loaded in part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tercet_cloud.planner.fleet.fleet_problem import FleetProblem, Resource
from tercet_cloud.planner.fleet.relaxation import Relaxation, Rows, relax

# Gains below this part of the objective are noise.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Step:
    """How much of a resource one buys at once, in its unit, and what that costs; None where not stated."""

    amount: float
    price: float | None = None


@dataclass(frozen=True)
class Purchase:
    """One step of one resource.

    Attributes:
        price_at_margin: what one more unit, as stated, lowers the objective by at first.
        predicted_gain: that times the step; never too little.
        gain: by solving again with the step bought.
    """

    resource: Resource
    step: Step
    price_at_margin: float
    predicted_gain: float
    gain: float

    @property
    def merit(self) -> float:
        """What the ranking goes by: gain per money, or gain where no price is stated."""
        return self.gain / (self.step.price or 1.0)


def buy_next(
    problem: FleetProblem,
    relaxation: Relaxation,
    step_of: Callable[[Resource], Step],
    *,
    top: int = 5,
    most_solves: int = 20,
) -> tuple[Purchase, ...]:
    """The `top` purchases by gain (per money, if all steps have prices), best first; fewer if no more gain anything.

    Args:
        problem: as `relaxation` solved it (undivided where cohorts are).
        most_solves: steps tried at most; each solves the relaxation again.
    """
    steps = [step_of(resource) for resource in problem.resources]
    if any(step.price is None for step in steps):
        steps = [Step(step.amount) for step in steps]
    bounds = [
        float(relaxation.resource_price[index]) * resource.share * steps[index].amount
        for index, resource in enumerate(problem.resources)
    ]
    merits = [bound / (step.price or 1.0) for bound, step in zip(bounds, steps, strict=True)]
    order = sorted(range(len(bounds)), key=lambda index: -merits[index])
    tried: list[Purchase] = []
    for index in order[:most_solves]:
        resource, step = problem.resources[index], steps[index]
        if bounds[index] <= _NOTHING * abs(relaxation.value):
            break
        if len(tried) >= top and sorted((item.merit for item in tried), reverse=True)[top - 1] >= merits[index]:
            break
        bought = problem.with_more(index, step.amount)
        after = relax(bought, Rows(bought), relaxation.columns)
        tried.append(
            Purchase(
                resource,
                step,
                price_at_margin=bounds[index] / step.amount,
                predicted_gain=bounds[index],
                gain=max(0.0, relaxation.value - after.value),
            )
        )
    return tuple(sorted(tried, key=lambda item: -item.merit)[:top])
