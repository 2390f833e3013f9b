"""What to buy next: how much the fleet's objective falls with one step more of each shared resource.

The linear program's price of a resource holds at the margin and falls as one buys, so price × step is the most
that a step can gain. Steps are tried in the order of that bound until no other can gain more: the ranking is that
of solved programs, not of prices. Both are for divisible devices and the blocks of weights that edges have loaded.

Memory has no such price, as it takes whole blocks: for the edges where it is dearest to the relaxation, the blocks
are settled again with a step more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tercet_cloud.planner.fleet.fleet_plan import FleetChoice
from tercet_cloud.planner.fleet.fleet_problem import IndexArray, Resource
from tercet_cloud.planner.fleet.paid_charges import settle
from tercet_cloud.planner.fleet.relaxation import Rows, relax

# Gains below this part of the objective are noise.
_NOTHING = 1e-9
# For memory: edges that are tried, the gap of their programs and the seconds for each.
_MEMORIES_TRIED = 4
_GAP, _LIMIT_S = 1e-4, 5.0


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
        predicted_gain: that times the step; never too little. For memory the gain itself.
        gain: by solving again with the step bought.
        options: of the problem that was planned, those that are then used.
    """

    resource: Resource
    step: Step
    price_at_margin: float
    predicted_gain: float
    gain: float
    options: IndexArray = field(compare=False, repr=False)

    @property
    def merit(self) -> float:
        """What the ranking goes by: gain per money, or gain where no price is stated."""
        return self.gain / (self.step.price or 1.0)


def buy_next(
    choice: FleetChoice, step_of: Callable[[Resource], Step], *, top: int = 5, most_solves: int = 20
) -> tuple[Purchase, ...]:
    """The `top` purchases by gain (per money, if all steps have prices), best first; none that gains nothing.

    Args:
        most_solves: steps tried at most; each solves the relaxation again.
    """
    problem, relaxation = choice.settled.problem, choice.settled.relaxation
    steps = [step_of(resource) for resource in problem.resources]
    if any(step.price is None for step in steps):
        steps = [Step(step.amount) for step in steps]
    prices = [
        float(price) * item.share for price, item in zip(relaxation.resource_price, problem.resources, strict=True)
    ]
    bounds = [
        Purchase(resource, step, price, price * step.amount, price * step.amount, choice.options)
        for resource, step, price in zip(problem.resources, steps, prices, strict=True)
    ]
    tried = _memory_purchases(choice, steps)
    for index in sorted(range(len(bounds)), key=lambda index: -bounds[index].merit)[:most_solves]:
        bound = bounds[index]
        best = sorted((item.merit for item in tried), reverse=True)[:top]
        if bound.gain <= _NOTHING * abs(relaxation.value) or (len(best) == top and best[-1] >= bound.merit):
            break
        bought = problem.with_more(index, bound.step.amount)
        after = relax(bought, Rows(bought), relaxation.columns)
        used = choice.settled.original[after.used]
        tried.append(replace(bound, gain=max(0.0, relaxation.value - after.value), options=used))
    return tuple(sorted(tried, key=lambda item: -item.merit)[:top])


def _memory_purchases(choice: FleetChoice, steps: Sequence[Step]) -> list[Purchase]:
    """Steps of memory that gain more than the programs' tolerance."""
    problem, dear = choice.solved, choice.relaxation.resource_price
    short = sorted(set(problem.charges.resource.tolist()), key=lambda index: -dear[index])[:_MEMORIES_TRIED]
    found = []
    for index in short:
        if dear[index] <= 0:
            break
        bought = problem.with_more(index, steps[index].amount)
        rows = Rows(bought)
        after = settle(bought, rows, relax(bought, rows, choice.relaxation.columns), gap=_GAP, limit_s=_LIMIT_S)
        before = choice.settled.relaxation.value
        gain = 0.0 if after is None else before - after.relaxation.value
        if after is not None and gain > 2 * _GAP * abs(before):
            resource, step = problem.resources[index], steps[index]
            used = after.original[after.relaxation.used]
            found.append(Purchase(resource, step, gain / step.amount, gain, gain, used))
    return found
