"""One problem that bounds many: the first codec fixed, the second free to be another one for every tensor.

Where the cloud is not used, the second codec is all the same, so an optimum that leaves it out is that of every
pair. Otherwise it is a lower bound, and tells which pairs are not worth solving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tercet_cloud.planner.cuts.exact import CutProblem
from tercet_cloud.planner.cuts.linear_cost import LinearCost


def freest_problem(problems: Sequence[CutProblem]) -> CutProblem:
    """A problem whose optimum is no worse than that of any of `problems`, and allows all that one of them allows.

    Args:
        problems: alike but for what crosses the second link; at least one.
    """
    first = problems[0]
    shape = first.additive.over_link.shape
    bars = [np.zeros(shape, bool) if item.barred is None else item.barred for item in problems]
    barred = np.stack([bars[0][0], np.all([bar[1] for bar in bars], axis=0)])
    possible = [~bar[1] for bar in bars]
    return replace(
        first,
        additive=_least([item.additive for item in problems], possible),
        stages=tuple(
            _least([item.stages[number] for item in problems], possible) for number in range(len(first.stages))
        ),
        limits=tuple(
            replace(limit, cost=_least([item.limits[number].cost for item in problems], possible))
            for number, limit in enumerate(first.limits)
        ),
        barred=barred if barred.any() else None,
    )


def _least(costs: Sequence[LinearCost], possible: Sequence[np.ndarray]) -> LinearCost:
    """For every tensor the least cost over the second link, of the codecs that can code it."""
    prices = np.array([np.where(can, cost.over_link[1], np.inf) for cost, can in zip(costs, possible, strict=True)])
    least = prices.min(axis=0)
    return replace(costs[0], over_link=np.stack([costs[0].over_link[0], np.where(np.isinf(least), 0.0, least)]))
