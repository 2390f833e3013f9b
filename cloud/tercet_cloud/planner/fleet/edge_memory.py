"""Memory of edges: a block of weights is loaded once, however many devices and plans use it.

Blocks are what all plans of a model take together or not at all. Beside weights, a model that an edge computes
anything of takes its largest activation for each core. Only edges whose memory could run out are looked at: where
all that might be loaded fits, there is nothing to decide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.costs.frame_costs import MEGA
from tercet_cloud.planner.fleet.cohort_group import Group
from tercet_cloud.planner.fleet.fleet_file import EdgeSpec
from tercet_cloud.planner.fleet.fleet_problem import Float64Array, IndexArray, Resource, SharedCharges
from tercet_cloud.planner.fleet.plan_pool import Cut, Mask, PlanPool
from tercet_cloud.planner.fleet.pricing import edge_activations_mb
from tercet_cloud.planner.fleet.setting import FleetSetting

# What an edge computes: what the device left it, up to what the cloud is left.
Stretch = tuple[Cut, Cut]


@dataclass(frozen=True)
class ModelBlocks:
    """A model's blocks, the last of them its activations.

    Attributes:
        weights_mb: (blocks - 1,)
        needs: (stretches, blocks) what a stretch takes.
        place: of each stretch in `needs`.
    """

    measurements: ModelMeasurements
    weights_mb: Float64Array
    needs: Mask
    place: dict[Stretch, int]

    @classmethod
    def of(cls, measurements: ModelMeasurements, stretches: Sequence[Stretch]) -> ModelBlocks:
        held = np.zeros((len(stretches), len(measurements.graph.operations)), np.bool_)
        for row, (device, until_cloud) in enumerate(stretches):
            held[row, list(until_cloud - device)] = True
        weighty = np.flatnonzero((measurements.weights_bytes > 0) & held.any(axis=0))
        needs, block_of = np.unique(held[:, weighty], axis=1, return_inverse=True)
        weights = np.bincount(block_of.ravel(), measurements.weights_bytes[weighty] / MEGA, needs.shape[1]).astype(
            np.float64
        )
        # What computes without weights is small: it counts for nothing.
        computes = held[:, weighty].any(axis=1, keepdims=True)
        place = {stretch: row for row, stretch in enumerate(stretches)}
        return cls(measurements, weights, np.hstack([needs, computes]), place)

    def needed(self, pool: PlanPool) -> Mask:
        """(plans, blocks)"""
        return self.needs[[self.place[item.device, item.until_cloud] for item in pool.candidates]]

    def amounts_mb(self, edge: EdgeSpec) -> Float64Array:
        """(blocks,) on an edge."""
        return np.append(self.weights_mb, edge_activations_mb(self.measurements, edge))


def memory_charges(
    setting: FleetSetting, pools: Sequence[PlanPool], groups: Sequence[Group], first_resource: int
) -> tuple[SharedCharges, tuple[Resource, ...]]:
    """What edges load, and the resources that it is loaded into, numbered from `first_resource` on."""
    starts = np.concatenate([[0], np.cumsum([len(group.plans) for group in groups])])
    blocks = _blocks(setting, pools)
    model_of = {id(pool): cohort.model for cohort, pool in zip(setting.cohorts, pools, strict=True)}
    needed = {
        id(pool): blocks[model_of[id(pool)]].needed(pool) for pool in {id(pool): pool for pool in pools}.values()
    }
    on_edge: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, group in enumerate(groups):
        on_edge[group.edge][setting.cohorts[group.cohort].model].append(index)
    resources: list[Resource] = []
    amounts: list[float] = []
    paid_from: list[int] = []
    options: list[IndexArray] = []
    for edge, models in sorted(on_edge.items()):
        spec = setting.fleet.edges[edge]
        sizes = {model: blocks[model].amounts_mb(spec) for model in models}
        if spec.memory_mb is None or sum(float(size.sum()) for size in sizes.values()) <= spec.memory_mb:
            continue
        for model, members in models.items():
            needs = np.vstack([needed[id(pools[groups[index].cohort])][groups[index].plans] for index in members])
            here = np.concatenate([np.arange(starts[index], starts[index + 1]) for index in members])
            for block in np.flatnonzero(needs.any(axis=0)):
                amounts.append(float(sizes[model][block]))
                paid_from.append(first_resource + len(resources))
                options.append(here[needs[:, block]])
        resources.append(Resource(spec.name, "memory", "MB", spec.memory_mb))
    rows = np.repeat(np.arange(len(amounts)), [len(needing) for needing in options])
    columns = np.concatenate(options) if options else np.zeros(0, np.intp)
    needs_matrix = sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=(len(amounts), int(starts[-1])))
    return (
        SharedCharges(needs_matrix, np.array(amounts, np.float64), np.array(paid_from, np.intp)),
        tuple(resources),
    )


def _blocks(setting: FleetSetting, pools: Sequence[PlanPool]) -> dict[str, ModelBlocks]:
    """By model, over all plans of all its pools."""
    stretches: dict[str, dict[Stretch, None]] = defaultdict(dict)
    measurements: dict[str, ModelMeasurements] = {}
    distinct = {id(pool): (cohort, pool) for cohort, pool in zip(setting.cohorts, pools, strict=True)}
    for cohort, pool in distinct.values():
        measurements.setdefault(cohort.model, pool.measurements)
        stretches[cohort.model].update(dict.fromkeys((item.device, item.until_cloud) for item in pool.candidates))
    return {model: ModelBlocks.of(measurements[model], list(found)) for model, found in stretches.items()}
