"""Memory of edges: a block of weights is loaded once, however many devices and plans use it.

Blocks are what all plans of a model take together or not at all. Beside weights, a model that an edge computes
anything of takes its largest activation for each core. Only edges whose memory could run out are looked at: where
all that might be loaded fits, there is nothing to decide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from tercet_cloud.planner.fleet.fleet_problem import IndexArray, Resource, SharedCharges
from tercet_cloud.planner.fleet.plan_pool import Mask, PlanPool
from tercet_cloud.planner.fleet.setting import FleetSetting
from tercet_cloud.planner.frame_costs import MEGA

if TYPE_CHECKING:
    from tercet_cloud.planner.fleet.options import Group


def memory_charges(
    setting: FleetSetting, pools: Sequence[PlanPool], groups: Sequence[Group], first_resource: int
) -> tuple[SharedCharges, tuple[Resource, ...]]:
    """What edges load, and the resources that it is loaded into, numbered from `first_resource` on."""
    starts = np.concatenate([[0], np.cumsum([len(group.plans) for group in groups])])
    on_edge: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, group in enumerate(groups):
        on_edge[group.edge][setting.cohorts[group.cohort].model].append(index)
    resources: list[Resource] = []
    amounts: list[float] = []
    paid_from: list[int] = []
    options: list[IndexArray] = []
    for edge, models in sorted(on_edge.items()):
        spec = setting.fleet.edges[edge]
        blocks = [
            block for members in models.values() for block in _blocks(setting, pools, groups, members, starts)
        ]
        if spec.memory_mb is None or sum(amount for amount, _ in blocks) <= spec.memory_mb:
            continue
        for amount, needing in blocks:
            amounts.append(amount)
            paid_from.append(first_resource + len(resources))
            options.append(needing)
        resources.append(Resource(spec.name, "memory", "MB", spec.memory_mb))
    rows = np.repeat(np.arange(len(amounts)), [len(needing) for needing in options])
    columns = np.concatenate(options) if options else np.zeros(0, np.intp)
    needs = sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=(len(amounts), int(starts[-1])))
    return SharedCharges(needs, np.array(amounts, np.float64), np.array(paid_from, np.intp)), tuple(resources)


def _blocks(
    setting: FleetSetting,
    pools: Sequence[PlanPool],
    groups: Sequence[Group],
    members: Sequence[int],
    starts: IndexArray,
) -> list[tuple[float, IndexArray]]:
    """Of one model on one edge: MB of each block, and the options that need it."""
    held: Mask = np.vstack([pools[groups[index].cohort].at_edge[groups[index].plans] for index in members])
    options = np.concatenate([np.arange(starts[index], starts[index + 1]) for index in members])
    measurements = pools[groups[members[0]].cohort].measurements
    cores = setting.fleet.edges[groups[members[0]].edge].cores
    activations = float(measurements.activation_bytes.max(initial=0.0)) / MEGA * cores
    weighty = np.flatnonzero((measurements.weights_bytes > 0) & held.any(axis=0))
    needed, block_of = np.unique(held[:, weighty], axis=1, return_inverse=True)
    weights = np.bincount(block_of.ravel(), measurements.weights_bytes[weighty] / MEGA, needed.shape[1])
    active = held.any(axis=1)
    blocks = [(float(amount), options[needed[:, index]]) for index, amount in enumerate(weights)]
    return [*blocks, (activations, options[active])] if active.any() else blocks
