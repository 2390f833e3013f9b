"""The plans of every cohort on every edge it may attach to, as a problem in plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tercet.errors import InfeasibleError
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Weights
from tercet_cloud.planner.fleet.cohort_group import Group
from tercet_cloud.planner.fleet.edge_memory import memory_charges
from tercet_cloud.planner.fleet.fleet_file import Fleet
from tercet_cloud.planner.fleet.fleet_problem import FleetProblem, Float64Array, IndexArray, Resource
from tercet_cloud.planner.fleet.plan_pool import Mask, PlanPool
from tercet_cloud.planner.fleet.pricing import FrameFigures, frame_figures, own_limits, why_none
from tercet_cloud.planner.fleet.setting import FleetSetting
from tercet_cloud.planner.searching.search import Coding

# As an owner of resources; no edge may be called so.
CLOUD = "cloud"
_MBIT_PER_BYTE = 8e-6

IsAllowed = Callable[[int, tuple[Coding, ...]], bool]


@dataclass(frozen=True)
class FleetOptions:
    """A problem, and what its options mean: (options,) indices of edges, and of plans in cohorts' pools."""

    problem: FleetProblem
    edge_of: IndexArray
    plan_of: IndexArray


def fleet_options(setting: FleetSetting, pools: Sequence[PlanPool], is_allowed: IsAllowed) -> FleetOptions:
    """Every plan of every cohort on every edge of its own that keeps the cohort's constraints.

    Args:
        pools: by cohort; cohorts may share one.
        is_allowed: whether a cohort, by index, may use plans with such lossy codings; the same for cohorts that
            share a pool and allow the same drop.
    Raises:
        InfeasibleError: a cohort has no plan at all; says how far which constraint is from any.
    """
    any_topology = setting.cohorts[0].on_edge(setting.fleet.edges[0])
    weights = CostModel(pools[0].measurements, any_topology).weights
    accurate: dict[tuple[int, float | None], Mask] = {}
    groups: list[Group] = []
    for index, (cohort, pool) in enumerate(zip(setting.cohorts, pools, strict=True)):
        key = (id(pool), cohort.constraints.max_accuracy_drop)
        if key not in accurate:
            accurate[key] = np.array([is_allowed(index, codings) for codings in pool.codings], np.bool_)
        groups += _groups(setting, index, pool, accurate[key], weights)
    sizes = [len(group.plans) for group in groups]
    edge_of = np.repeat(np.array([group.edge for group in groups], np.intp), sizes)
    resources = shared_resources(setting.fleet)
    charges, memory = memory_charges(setting, pools, groups, len(resources))
    problem = FleetProblem(
        units=np.array([cohort.spec.devices for cohort in setting.cohorts], np.int64),
        cohort_of=np.repeat(np.array([group.cohort for group in groups], np.intp), sizes),
        group_of=np.repeat(np.arange(len(groups)), sizes),
        value=np.concatenate([group.value for group in groups]),
        usage=_usage(groups, (*resources, *memory)),
        resources=(*resources, *memory),
        charges=charges,
    )
    return FleetOptions(problem, edge_of, np.concatenate([group.plans for group in groups]))


def shared_resources(fleet: Fleet) -> tuple[Resource, ...]:
    """Cores and links of every edge, and the cloud's cores if they are limited; memory aside."""
    share = fleet.utilisation
    found = []
    for edge in fleet.edges:
        found.append(Resource(edge.name, "cores", "cores", float(edge.cores), share))
        found.append(Resource(edge.name, "uplink", "Mbit/s", edge.uplink.up_mbps, share))
        found.append(Resource(edge.name, "downlink", "Mbit/s", edge.uplink.down_mbps, share))
    if fleet.cloud.cores is not None:
        found.append(Resource(CLOUD, "cores", "cores", float(fleet.cloud.cores), share))
    return tuple(found)


def _groups(setting: FleetSetting, index: int, pool: PlanPool, accurate: Mask, weights: Weights) -> Iterator[Group]:
    cohort, fleet = setting.cohorts[index], setting.fleet
    none_yet, limits = True, []
    for edge in setting.edges_of[index]:
        frame = frame_figures(pool, cohort, fleet.edges[edge], fleet, weights)
        limits.append(own_limits(cohort, pool, frame, fleet.edges[edge], fleet.utilisation))
        kept = accurate & np.logical_and.reduce([limit.kept for limit in limits[-1]])
        if edge != setting.edges_of[index][0]:
            # Plans that use no edge are the same on all: they stand at the first.
            kept &= pool.crosses[0]
        if kept.any():
            none_yet = False
            plans = np.flatnonzero(kept).astype(np.intp)
            rate = cohort.spec.frames_per_second
            usage = _usage_of(pool, frame, plans, rate, fleet.edges[edge].name)
            yield Group(index, edge, plans, frame.value[plans] * rate, usage)
    if none_yet:
        raise InfeasibleError(why_none(cohort, accurate, limits))


def _usage_of(
    pool: PlanPool, frame: FrameFigures, plans: IndexArray, rate: float, edge: str
) -> dict[tuple[str, str], Float64Array]:
    answer_bytes = pool.measurements.coding.answer_bytes
    return {
        (edge, "cores"): frame.edge_ms[plans] / 1e3 * rate,
        (edge, "uplink"): pool.link_bytes[1, plans] * _MBIT_PER_BYTE * rate,
        (edge, "downlink"): pool.crosses[1, plans] * (answer_bytes * _MBIT_PER_BYTE * rate),
        (CLOUD, "cores"): frame.cloud_ms[plans] / 1e3 * rate,
    }


def _usage(groups: Sequence[Group], resources: Sequence[Resource]) -> sparse.csc_array:
    """(resources, options)"""
    place = {(item.owner, item.kind): index for index, item in enumerate(resources)}
    rows, columns, amounts, start = [], [], [], 0
    for group in groups:
        for key, amount in group.usage.items():
            if key in place:
                used = np.flatnonzero(amount)
                rows.append(np.full(len(used), place[key]))
                columns.append(start + used)
                amounts.append(amount[used])
        start += len(group.plans)
    return sparse.csc_array(
        (np.concatenate(amounts), (np.concatenate(rows), np.concatenate(columns))), shape=(len(resources), start)
    )
