"""What every plan of a pool costs a cohort on an edge, and which of them keep the cohort's constraints.

Same figures as `CostModel.predict` under the cohort's topology on that edge (a test holds them together), for all
plans of a pool at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.costs.frame_costs import MEGA, transfer_ms
from tercet_cloud.planner.costs.topology import Weights
from tercet_cloud.planner.fleet.fleet_file import EdgeSpec, Fleet
from tercet_cloud.planner.fleet.fleet_problem import Float64Array
from tercet_cloud.planner.fleet.plan_pool import Mask, PlanPool
from tercet_cloud.planner.fleet.setting import ResolvedCohort
from tercet_cloud.planner.searching.relaxation import rounded_up

_MS_PER_HOUR = 3.6e6
_BYTES_PER_KB = 1e3
# So that what just keeps a limit is not lost to rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class FrameFigures:
    """One frame of every plan of a pool; (plans,) each. `money` includes the time of edge's and cloud's cores.

    `value` is the objective; `sending_ms` is the device–edge link's.
    """

    device_ms: Float64Array
    edge_ms: Float64Array
    cloud_ms: Float64Array
    latency_ms: Float64Array
    sending_ms: Float64Array
    energy_mj: Float64Array
    money: Float64Array
    value: Float64Array


@dataclass(frozen=True)
class OwnLimit:
    """A limit of one device: (plans,) `figures` must not exceed `bound`."""

    name: str
    figures: Float64Array
    bound: float
    unit: str

    @property
    def kept(self) -> Mask:
        return self.figures <= self.bound + _ROUNDING * max(1.0, self.bound)


def frame_figures(
    pool: PlanPool, cohort: ResolvedCohort, edge: EdgeSpec, fleet: Fleet, weights: Weights
) -> FrameFigures:
    """What one frame of a cohort's device costs on an edge, under each plan.

    Args:
        weights: the fleet's objective, as `CostModel.weights` has it.
    """
    topology = cohort.on_edge(edge)
    tiers, links = topology.tiers, (topology.links.device_edge, topology.links.edge_cloud)
    busy = pool.tier_ms * np.array([[tiers.device.slowdown], [tiers.edge.slowdown], [tiers.cloud.slowdown]])
    latency, money, sending = busy.sum(axis=0), np.zeros(len(pool.candidates)), []
    for size, used, link in zip(pool.link_bytes, pool.crosses, links, strict=True):
        sending.append(size * transfer_ms(1, link.up_mbps))
        answer_ms = transfer_ms(pool.measurements.coding.answer_bytes, link.down_mbps)
        latency = latency + sending[-1] + used * (link.round_trip_ms + link.overhead_ms + answer_ms)
        money = money + size * (link.cost_per_mb / MEGA)
    energy = busy[0] * tiers.device.active_power_w + sending[0] * links[0].transmit_power_w
    money = money + compute_money(busy[1], busy[2], edge, fleet)
    value = (
        weights.latency_ms * latency
        + weights.energy_mj * energy
        + weights.device_edge_kb * pool.link_bytes[0] / _BYTES_PER_KB
        + weights.edge_cloud_kb * pool.link_bytes[1] / _BYTES_PER_KB
        + weights.cost * money
    )
    return FrameFigures(busy[0], busy[1], busy[2], latency, sending[0], energy, money, value)


def compute_money(edge_ms: Float64Array, cloud_ms: Float64Array, edge: EdgeSpec, fleet: Fleet) -> Float64Array:
    """Money for the time that a frame keeps cores of edge and cloud busy."""
    spent: Float64Array = edge_ms * edge.price_per_core_hour + cloud_ms * fleet.cloud.price_per_core_hour
    return spent / _MS_PER_HOUR


def own_limits(
    cohort: ResolvedCohort, pool: PlanPool, frame: FrameFigures, edge: EdgeSpec, utilisation: float
) -> list[OwnLimit]:
    """What a single device's plan has to keep, accuracy aside: constraints, frame rate, and the edge's memory.

    The same limits in the same order for all edges.
    """
    limits, found = cohort.constraints, []
    if limits.private_input:
        found.append(
            OwnLimit("private_input", pool.leaves_raw.astype(np.float64), 0.0, "inputs leaving the device")
        )
    if limits.deadline_ms is not None:
        found.append(OwnLimit("deadline", frame.latency_ms, limits.deadline_ms, "ms"))
    if limits.max_device_energy_mj is not None:
        found.append(OwnLimit("device energy", frame.energy_mj, limits.max_device_energy_mj, "mJ"))
    memory = [bound for bound in (limits.max_device_memory_mb, cohort.device.memory_mb) if bound is not None]
    if memory:
        found.append(OwnLimit("device memory", pool.device_memory_mb, min(memory), "MB"))
    needed = pool.edge_weights_mb + edge_activations_mb(pool.measurements, edge) * (pool.edge_weights_mb > 0)
    found.append(OwnLimit(f"memory of {edge.name}", needed, edge.memory_mb or math.inf, "MB"))
    per_frame_ms = 1e3 * utilisation / cohort.spec.frames_per_second
    busy_ms = frame.device_ms / cohort.device.cores
    found.append(OwnLimit("the device's time per frame at its frame rate", busy_ms, per_frame_ms, "ms"))
    found.append(OwnLimit("its link's time per frame at its frame rate", frame.sending_ms, per_frame_ms, "ms"))
    return found


def edge_activations_mb(measurements: ModelMeasurements, edge: EdgeSpec) -> float:
    """What a model takes beside its weights on an edge that computes any of it: the largest activation a core."""
    return float(measurements.activation_bytes.max(initial=0.0)) / MEGA * edge.cores


def why_none(cohort: ResolvedCohort, accurate: Mask, by_edge: Sequence[Sequence[OwnLimit]]) -> str:
    """Why no plan keeps a cohort's constraints, on any edge.

    Args:
        accurate: (plans,) those that may be used as far as accuracy goes.
        by_edge: of each edge the same limits, in the same order.
    """
    name = f"cohort {cohort.spec.name}"
    if not accurate.any():
        return f"{name}: no plan is accurate enough, not even a lossless one: add a lossless codec to the menu"
    short = []
    for limits in zip(*by_edge, strict=True):
        if not any(limit.kept[accurate].any() for limit in limits):
            nearest = min(limits, key=lambda limit: float(limit.figures[accurate].min()) / max(limit.bound, 1e-300))
            least = rounded_up(float(nearest.figures[accurate].min()))
            short.append(
                f"{nearest.name} is {nearest.bound:.4g} {nearest.unit}, the least that any plan takes is {least}"
            )
    if short:
        return f"{name}: no plan keeps its constraints: {'; '.join(short)}"
    return f"{name}: no plan keeps all its constraints together, though each alone can be kept: relax one"
