"""Why nothing keeps all constraints, and how far each would have to be relaxed.

Every figure is an optimum: the smallest value of one constraint's quantity over all cuts and codec pairs, the
others kept. So what the text asks for is enough, and less is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, floor, log10
from typing import NoReturn

from tercet.errors import InfeasibleError
from tercet_cloud.measurement.binomial import clopper_pearson
from tercet_cloud.planner.candidate import MeasuredAccuracy
from tercet_cloud.planner.exact import CutProblem, Limit, solve_cuts
from tercet_cloud.planner.topology import Constraints

# Beyond this, more frames are no advice.
_MOST_FRAMES = 100_000


def raise_infeasible(
    problems: Sequence[CutProblem],
    lossless: Sequence[CutProblem],
    public: Sequence[CutProblem],
    constraints: Constraints,
    accuracies: Sequence[MeasuredAccuracy],
) -> NoReturn:
    """InfeasibleError naming what binds.

    Args:
        problems: one a codec pair, with all limits.
        lossless: those of them that lose no accuracy.
        public: `problems` without private_input, if that is asked for.
        accuracies: what was measured on the way; empty if limits alone rule everything out.
    """
    if accuracies:
        raise InfeasibleError(_accuracy_text(lossless, constraints, accuracies))
    raise InfeasibleError(_limits_text(problems, public))


def _limits_text(problems: Sequence[CutProblem], public: Sequence[CutProblem]) -> str:
    ways = _ways_out(problems)
    if public and any(solution is not None for solution in solve_cuts(public)):
        ways.append("allow the raw input to leave the device (private_input: false)")
    if ways:
        return f"no plan keeps all constraints: {'; or '.join(ways)}"
    return f"no plan keeps all constraints, and relaxing one is not enough: {'; and '.join(_alone(problems))}"


def _accuracy_text(
    lossless: Sequence[CutProblem], constraints: Constraints, accuracies: Sequence[MeasuredAccuracy]
) -> str:
    allowed = constraints.max_accuracy_drop or 0.0
    best = min(accuracies, key=lambda accuracy: accuracy.drop_bound)
    ways = [f"allow max_accuracy_drop {rounded_up(best.drop_bound)}"]
    frames = frames_needed(best, allowed)
    if frames is not None:
        ways.append(f"measure on at least {frames} frames instead of {best.frames}, if agreement stays as it is")
    ways += _ways_out(lossless)
    return (
        f"no plan keeps max_accuracy_drop {allowed:g} and all else: the smallest upper bound of the drop among "
        f"{len(accuracies)} measured is {best.drop_bound:.4f} (agreement {best.agreement:.4f} on {best.frames} "
        f"frames): {'; or '.join(ways)}"
    )


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
        if clopper_pearson(wrong, frames)[1] <= allowed:
            return frames
        frames += max(1, frames // 50)
    return None


def _ways_out(problems: Sequence[CutProblem]) -> list[str]:
    """For each limit the smallest bound that would do if all others stay, in words."""
    ways = []
    for limit in _limits(problems):
        least = _least(problems, limit, others=True)
        if least is not None and least > limit.bound:
            ways.append(
                f"raise {limit.name} from {_figure(limit.bound, limit)} to {_figure(least, limit, up=True)}"
            )
    return ways


def _alone(problems: Sequence[CutProblem]) -> list[str]:
    """What each limit would need by itself."""
    found = []
    for limit in _limits(problems):
        least = _least(problems, limit, others=False)
        if least is None:
            continue
        by_itself = (
            f"at least {_figure(least, limit, up=True)} is needed by itself"
            if least > limit.bound
            else (f"only {_figure(least, limit, up=True)} is needed by itself")
        )
        found.append(f"{limit.name} is {_figure(limit.bound, limit)}, {by_itself}")
    return found or ["no cut is possible with these codecs"]


def _limits(problems: Sequence[CutProblem]) -> list[Limit]:
    """One of each name."""
    return list({limit.name: limit for problem in problems for limit in problem.limits}.values())


def _least(problems: Sequence[CutProblem], limit: Limit, *, others: bool) -> float | None:
    """The smallest value of a limit's cost over all problems; None if the rest rules everything out."""
    relaxed = []
    for problem in problems:
        own = next((item for item in problem.limits if item.name == limit.name), None)
        if own is not None:
            kept = tuple(item for item in problem.limits if others and item.name != limit.name)
            relaxed.append(replace(problem, additive=own.cost, stages=(), limits=kept))
    values = [solution.value for solution in solve_cuts(relaxed) if solution is not None]
    return min(values, default=None)


def _figure(value: float, limit: Limit, *, up: bool = False) -> str:
    return f"{rounded_up(value) if up else f'{value:g}'} {limit.unit}".rstrip()


def rounded_up(value: float) -> str:
    """Three digits, never less than the value."""
    if value <= 0:
        return "0"
    step = 10.0 ** (floor(log10(value)) - 2)
    return f"{ceil(value / step - 1e-9) * step:.10g}"
