"""A plan with fewer parts: a handful of devices with a plan of their own is more trouble than it saves."""

from __future__ import annotations

import numpy as np

from tercet_cloud.planner.fleet.fleet_problem import CountArray, FleetProblem, IndexArray
from tercet_cloud.planner.fleet.relaxation import ROOM


def tidied(
    problem: FleetProblem, options: IndexArray, devices: CountArray, allowance: float
) -> tuple[IndexArray, CountArray]:
    """The same choice with small parts joined to another part of their cohort, the smallest first.

    Args:
        options, devices: (chosen,) a choice that keeps all limits.
        allowance: by how much the sum of values may grow in all.
    Returns:
        options and devices that keep all limits too.
    """
    left = {int(option): int(count) for option, count in zip(options, devices, strict=True)}
    load = problem.load(options, devices)
    room = problem.usable * (1 + ROOM)
    usage = problem.usage
    for option in sorted(left, key=lambda option: left[option]):
        count = left[option]
        others = [
            other for other in left if other != option and problem.cohort_of[other] == problem.cohort_of[option]
        ]
        for other in sorted(others, key=lambda other: problem.value[other]):
            cost = float(problem.value[other] - problem.value[option]) * count
            moved = load + (usage[:, [other]] - usage[:, [option]]).toarray().ravel() * count
            if cost <= allowance and (moved <= np.maximum(room, load)).all():
                allowance -= max(cost, 0.0)
                load = moved
                left[other] += left.pop(option)
                break
    return np.array(list(left), np.intp), np.array(list(left.values()), np.int64)
