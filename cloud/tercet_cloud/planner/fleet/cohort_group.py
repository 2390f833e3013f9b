"""A cohort of devices attached to one edge: the plans it may use there, and what they take."""

from __future__ import annotations

from dataclasses import dataclass

from tercet_cloud.planner.fleet.fleet_problem import Float64Array, IndexArray


@dataclass(frozen=True)
class Group:
    """A cohort on an edge, both by index: `plans` are indices in the cohort's pool that it may use there.

    `value` is of one device per second, `usage` likewise: of each resource (owner, kind) in its unit.
    """

    cohort: int
    edge: int
    plans: IndexArray
    value: Float64Array
    usage: dict[tuple[str, str], Float64Array]
