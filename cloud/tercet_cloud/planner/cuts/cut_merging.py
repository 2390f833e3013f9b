"""Operations that some best cut leaves together, so that a linear program needs one variable for them.

An operation with one follower may be moved to where its follower is, if what it would read from afar costs no more
than what it would give from afar, and computing there costs no more either. Then no cut gets worse by moving it,
and there is a best cut with both on one side; the same holds for groups. That is true of sums of costs only: limits
and bottlenecks may want such a cut.
"""

from __future__ import annotations

import numpy as np

from tercet_cloud.planner.cuts.cut_graph import Mask
from tercet_cloud.planner.cuts.cut_program import CutProgram, Indices
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost


def merged_columns(
    program: CutProgram, cost: LinearCost, barred: Mask | None, pinned: tuple[Mask | None, Mask | None]
) -> Indices:
    """(columns,) where each column of the program goes; those that go to the same place are equal in a best cut.

    Args:
        barred: (2, tensors), as of a `CutProblem`.
        pinned: by link (operations,) who is beyond it, or None.
    Why it holds: take a best cut with as much as possible beyond the links, and the first operation that is apart
    from a follower it is merged with. All merged into it are with it. Moving this group to the follower costs at
    most `worse`, which is not positive: the cut was none with as much as possible beyond.
    """
    worse = [_moving_on(program, cost, barred, link) for link in (0, 1)]
    may = program.follower >= 0
    for link, beyond in enumerate(pinned):
        if beyond is not None:
            may &= beyond == beyond[program.follower]
            worse[link] = np.zeros(len(beyond))
    first, second, follower = worse[0].tolist(), worse[1].tolist(), program.follower.tolist()
    merged = [False] * len(follower)
    for operation in np.flatnonzero(may).tolist():
        if first[operation] <= 0 and second[operation] <= 0:
            merged[operation] = True
            first[follower[operation]] += first[operation]
            second[follower[operation]] += second[operation]
    group = list(range(len(follower)))
    for operation in reversed(range(len(follower))):
        if merged[operation]:
            group[operation] = group[follower[operation]]
    leader = np.arange(program.columns)
    leader[: len(group)] = group
    leader[len(group) : 2 * len(group)] = np.array(group) + len(group)
    places: Indices = np.unique(leader, return_inverse=True)[1]
    return places


def _moving_on(program: CutProgram, cost: LinearCost, barred: Mask | None, link: int) -> Float64Array:
    """(operations,) what it costs at most to move an operation over a link that its follower is beyond.

    Infinite or NaN where something barred would have to cross.
    """
    price = cost.over_link[link].copy()
    if barred is not None:
        price[barred[link]] = np.inf
    with np.errstate(invalid="ignore"):
        moved: Float64Array = cost.on_tier[link + 1] - cost.on_tier[link]
        moved += program.wants @ price
        moved -= program.gives @ price
    return moved
