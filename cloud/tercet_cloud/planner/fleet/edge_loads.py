"""How busy what cohorts share is under a plan, and how long frames are expected to wait there for one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from tercet_cloud.planner.fleet.cohort_plans import FleetPlan, Part
from tercet_cloud.planner.fleet.fleet_problem import Resource
from tercet_cloud.planner.fleet.options import CLOUD

_SERVED_IN_TURN = 1


@dataclass(frozen=True)
class Load:
    """One resource: `used` of it, in its unit; `wait_ms`: a frame's expected wait for it, 0 for memory."""

    resource: Resource
    used: float
    wait_ms: float

    @property
    def share(self) -> float:
        """Of what plans may use."""
        return self.used / self.resource.usable


@dataclass(frozen=True)
class OwnerLoad:
    """An edge, or the cloud: devices attached to it, frames per second that it computes or hands on, and loads."""

    name: str
    devices: int
    frames_per_second: float
    loads: tuple[Load, ...]

    def load(self, kind: str) -> Load | None:
        return next((load for load in self.loads if load.resource.kind == kind), None)


def owner_loads(plan: FleetPlan) -> tuple[OwnerLoad, ...]:
    """Edges in the file's order; then the cloud, if its cores are limited."""
    parts: dict[str, list[Part]] = defaultdict(list)
    for part in plan.parts:
        if part.prediction.device_edge_bytes:
            parts[plan.setting.fleet.edges[part.edge].name].append(part)
        if part.prediction.edge_cloud_bytes:
            parts[CLOUD].append(part)
    resources: dict[str, list[tuple[Resource, float]]] = defaultdict(list)
    for resource, used in plan.resources:
        resources[resource.owner].append((resource, used))
    return tuple(
        OwnerLoad(
            name,
            sum(part.devices for part in parts[name]),
            sum(_rate(plan, part) for part in parts[name]),
            tuple(Load(resource, used, _wait_ms(plan, resource, used, parts[name])) for resource, used in found),
        )
        for name, found in resources.items()
    )


def expected_wait_ms(busy: float, servers: int, service_ms: float) -> float:
    """Mean wait of frames that arrive at random times and take equally long, before `servers` of which `busy` are.

    Source: Sakasegawa 1977, "An approximation formula L_q ≈ αρ^β/(1−ρ)", halved for equal service times.
    """
    utilisation = busy / servers
    if utilisation <= 0:
        return 0.0
    waiting: float = utilisation ** (sqrt(2 * (servers + 1)) - 1) / (servers * (1 - utilisation))
    return service_ms * waiting / 2


def _wait_ms(plan: FleetPlan, resource: Resource, used: float, parts: Sequence[Part]) -> float:
    if resource.kind == "memory":
        return 0.0
    served = sum(_rate(plan, part) for part in parts if _uses(resource, part))
    if not served:
        return 0.0
    if resource.kind == "cores":
        return expected_wait_ms(used, round(resource.stated), used * 1e3 / served)
    busy = used / resource.stated
    return expected_wait_ms(busy, _SERVED_IN_TURN, busy * 1e3 / served)


def _uses(resource: Resource, part: Part) -> bool:
    if resource.kind == "cores":
        return (part.prediction.cloud_ms if resource.owner == CLOUD else part.prediction.edge_ms) > 0
    return part.prediction.edge_cloud_bytes > 0


def _rate(plan: FleetPlan, part: Part) -> float:
    """Frames per second of all its devices."""
    return part.devices * plan.setting.cohorts[part.cohort].spec.frames_per_second
