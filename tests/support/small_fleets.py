"""Fleets of a few cohorts over random networks and costs, for tests of the fleet planner."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Objective, Tiers, TierSpec, Topology
from tercet_cloud.planner.fleet.fleet_file import CloudSpec, Cohort, EdgeSpec, Fleet, FleetModel
from tercet_cloud.planner.fleet.setting import FleetSetting, resolve_fleet

MODEL = "random"
NO_LIMITS = Constraints(max_accuracy_drop=None)


def random_link(random: np.random.Generator) -> LinkSpec:
    speed = float(10 ** random.uniform(0.5, 2.5))
    return LinkSpec(
        up_mbps=speed,
        down_mbps=speed * float(random.uniform(1, 4)),
        round_trip_ms=float(random.uniform(0, 40)),
        overhead_ms=float(random.uniform(0, 3)),
        cost_per_mb=float(random.uniform(0, 0.1)),
        transmit_power_w=float(random.uniform(0, 2)),
    )


def small_fleet(
    seed: int,
    *,
    cohorts: int = 3,
    edges: int = 2,
    objective: Objective = "latency",
    constraints: Constraints = NO_LIMITS,
    cores: int = 4,
    most_devices: int = 30,
    memory_mb: float | None = None,
) -> Fleet:
    """Devices, links, rates and edges at random."""
    random = np.random.default_rng(seed)
    names = [f"edge-{index}" for index in range(edges)]
    return Fleet(
        objective=objective,
        models={MODEL: FleetModel(topology=Path("topology.yaml"))},
        cloud=CloudSpec(cores=8, price_per_core_hour=float(random.uniform(0, 1))),
        edges=tuple(
            EdgeSpec(
                name=name,
                cores=cores,
                memory_mb=memory_mb,
                slowdown=float(random.uniform(0.5, 3)),
                uplink=random_link(random),
                price_per_core_hour=float(random.uniform(0, 1)),
            )
            for name in names
        ),
        cohorts=tuple(
            Cohort(
                name=f"cohort-{index}",
                devices=int(random.integers(1, most_devices)),
                frames_per_second=float(random.uniform(0.1, 2)),
                edges=tuple(random.choice(names, int(random.integers(1, edges + 1)), replace=False)),
                device=TierSpec(slowdown=float(random.uniform(1, 8)), active_power_w=3),
                link=random_link(random),
                constraints=constraints,
            )
            for index in range(cohorts)
        ),
    )


def setting_of(fleet: Fleet) -> FleetSetting:
    """With a topology that states slow-downs and nothing else of use."""
    link = LinkSpec(up_mbps=1, down_mbps=1)
    template = Topology(
        tiers=Tiers(edge=TierSpec(slowdown=9), cloud=TierSpec(slowdown=0.7)),
        links=Links(device_edge=link, edge_cloud=link),
    )
    return resolve_fleet(fleet, Path(), lambda path: template)


def for_all(setting: FleetSetting, measurements: ModelMeasurements) -> list[ModelMeasurements]:
    """The same for every cohort."""
    return [measurements] * len(setting.cohorts)
