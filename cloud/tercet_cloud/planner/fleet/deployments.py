"""A fleet's plans made into files that tiers run: for each cohort's devices, each edge, and the cloud.

All cohorts' cuts of a model make one chain of segments where they nest, so that every file names the same blocks.
Plans whose cuts cross each other get a chain of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tercet.documents import write_document
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.fleet.cohort_plans import FleetPlan, Part
from tercet_cloud.planner.report.plan_report import PlanRow


@dataclass(frozen=True)
class DeployableModel:
    card: ModelCard
    graph: OnnxGraph


def plan_id(plan: FleetPlan, part: Part) -> str:
    """Of one part, unique in the fleet."""
    return f"p{plan.parts.index(part) + 1}"


def write_deployments(plan: FleetPlan, models: dict[str, DeployableModel], store: Store, out: Path) -> list[Path]:
    """cohorts/NAME.yaml, edges/NAME/MODEL.yaml and cloud/MODEL.yaml; segments and manifests are in the store after.

    Plans stand in order of their devices. A further chain of the same model goes to a file with -2, and so on.
    """
    written: dict[Path, Deployment] = {}
    for name, model in models.items():
        own = [part for part in plan.parts if plan.setting.cohorts[part.cohort].model == name]
        for number, chain in enumerate(nesting(own), start=1):
            suffix = "" if number == 1 else f"-{number}"
            whole = _deployed(plan, model, store, chain)
            users: dict[Path, list[Part]] = defaultdict(list)
            for part in chain:
                users[out / "cohorts" / f"{plan.setting.cohorts[part.cohort].spec.name}{suffix}.yaml"].append(part)
                if part.prediction.device_edge_bytes:
                    edge = plan.setting.fleet.edges[part.edge].name
                    users[out / "edges" / edge / f"{name}{suffix}.yaml"].append(part)
                if part.prediction.edge_cloud_bytes:
                    users[out / "cloud" / f"{name}{suffix}.yaml"].append(part)
            for path, parts in users.items():
                parts.sort(key=lambda part: -part.devices)
                plans = tuple(whole.plan(plan_id(plan, part)) for part in parts)
                written[path] = Deployment(model=whole.model, plans=plans)
    for path, deployment in written.items():
        write_document(deployment, path)
    return list(written)


def nesting(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts in as few groups as come of putting each into the first whose cuts all nest with its own."""
    groups: list[list[Part]] = []
    cuts: list[set[frozenset[int]]] = []
    for part in parts:
        own = {part.candidate.device, part.candidate.until_cloud}
        for group, known in zip(groups, cuts, strict=True):
            if all(one <= other or other <= one for one in own for other in known):
                group.append(part)
                known |= own
                break
        else:
            groups.append([part])
            cuts.append(own)
    return groups


def _deployed(plan: FleetPlan, model: DeployableModel, store: Store, parts: Sequence[Part]) -> Deployment:
    coding = plan.measurements[parts[0].cohort].coding
    rows = {
        plan_id(plan, part): PlanRow(
            plan_id(plan, part), part.candidate, part.prediction, part.value, part.accuracy
        )
        for part in parts
    }
    return deploy_plans(store, model.card, model.graph, coding, rows)
