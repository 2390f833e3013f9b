"""A fleet file with everything filled in: what each cohort's device, link and constraints are on every edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tercet.errors import SpecError
from tercet_cloud.planner.costs.topology import (
    Constraints,
    Links,
    LinkSpec,
    Objective,
    Tiers,
    TierSpec,
    Topology,
    read_topology,
)
from tercet_cloud.planner.fleet.fleet_file import Cohort, EdgeSpec, Fleet, weighs_throughput

ReadTopology = Callable[[Path], Topology]


@dataclass(frozen=True)
class ResolvedCohort:
    """A cohort with what the fleet file leaves open taken from its model's topology; profiles by absolute path."""

    spec: Cohort
    model: str
    template: Topology
    objective: Objective
    device: TierSpec
    link: LinkSpec
    constraints: Constraints

    def on_edge(self, edge: EdgeSpec) -> Topology:
        """One device's topology when attached to `edge`. Memory of the edge is left to the fleet's limits."""
        own = self.template.tiers.edge
        changes = {"slowdown": edge.slowdown or own.slowdown, "cores": edge.cores, "memory_mb": None}
        return self.template.model_copy(
            update={
                "tiers": Tiers(
                    device=self.device, edge=own.model_copy(update=changes), cloud=self.template.tiers.cloud
                ),
                "links": Links(device_edge=self.link, edge_cloud=edge.uplink),
                "constraints": self.constraints,
                "objective": self.objective,
            }
        )


@dataclass(frozen=True)
class FleetSetting:
    """A fleet with all its cohorts resolved; `edges_of` are indices of edges by cohort, in the file's order."""

    fleet: Fleet
    objective: Objective
    cohorts: tuple[ResolvedCohort, ...]
    edges_of: tuple[tuple[int, ...], ...]


def resolve_fleet(fleet: Fleet, folder: Path, read: ReadTopology = read_topology) -> FleetSetting:
    """Read the topologies that the fleet names.

    Args:
        folder: that the fleet file's paths are relative to.
    Raises:
        NotFoundError, SpecError: a topology that is not there or says something impossible; topologies whose
            objectives differ although the fleet states none.
    """
    templates = {
        name: _absolute(read(folder / model.topology), (folder / model.topology).parent)
        for name, model in fleet.models.items()
    }
    objective = _objective(fleet, list(templates.values()))
    cohorts = []
    for spec in fleet.cohorts:
        template = templates[fleet.model_of(spec)]
        device = template.tiers.device if spec.device is None else _profile_in(spec.device, folder)
        cohorts.append(
            ResolvedCohort(
                spec=spec,
                model=fleet.model_of(spec),
                template=template,
                objective=objective,
                device=device,
                link=spec.link or template.links.device_edge,
                constraints=spec.constraints or template.constraints,
            )
        )
    place = {edge.name: index for index, edge in enumerate(fleet.edges)}
    return FleetSetting(
        fleet, objective, tuple(cohorts), tuple(tuple(place[name] for name in spec.edges) for spec in fleet.cohorts)
    )


def _objective(fleet: Fleet, templates: Sequence[Topology]) -> Objective:
    if fleet.objective is not None:
        return fleet.objective
    stated = templates[0].objective
    if any(template.objective != stated for template in templates):
        raise SpecError(
            "the topologies of this fleet's models have different objectives: state `objective` in the fleet"
        )
    if weighs_throughput(stated):
        raise SpecError(
            "a fleet's frame rates are given, so throughput is no objective of it: state `objective` in it"
        )
    return stated


def _absolute(topology: Topology, folder: Path) -> Topology:
    tiers = topology.tiers
    return topology.model_copy(
        update={
            "tiers": Tiers(
                device=_profile_in(tiers.device, folder),
                edge=_profile_in(tiers.edge, folder),
                cloud=_profile_in(tiers.cloud, folder),
            )
        }
    )


def _profile_in(tier: TierSpec, folder: Path) -> TierSpec:
    if tier.profile is None:
        return tier
    return tier.model_copy(update={"profile": (folder / tier.profile).resolve()})
