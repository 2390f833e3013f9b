"""What a device serves with: one deployment made ready. It is replaced as a whole when another one is wanted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tercet.adaptive.prediction_watch import PredictionWatch
from tercet.cascade.document import read_cascade
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import CutModel
from tercet.errors import ContractError, SpecError
from tercet.identifiers import NodeId
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.models.store import Store
from tercet.plans import Deployment, Plan
from tercet.tiers import Tier
from tercet_device.agent import DeviceAgent
from tercet_device.cascade_agent import CascadeAgent
from tercet_device.durable_frames import DurableFrames
from tercet_device.kept_table import TableFile
from tercet_device.settings import DeviceSettings
from tercet_device.shooting import Shooter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generation:
    """An agent that is not connected yet, and the plans that photos take in turn; None: chosen frame by frame."""

    agent: DeviceAgent
    plans: Sequence[Plan | None]

    @property
    def model(self) -> CutModel:
        return self.agent.model


def open_generation(
    settings: DeviceSettings,
    durable: DurableFrames | None,
    tables: TableFile,
    deployments: Sequence[Deployment],
    former: Sequence[Deployment] = (),
) -> Generation:
    """One deployment made ready, with the plan table that was taken under it. Blocks while segments are loaded.

    Args:
        former: of no use here: a device opens no frames of others.
    Raises:
        TercetError: what is wrong with the deployment, the cascade or the store.
    """
    if len(deployments) != 1:
        raise SpecError(f"a device serves one deployment, not {len(deployments)}: want one of it")
    (deployment,) = deployments
    model = open_model(
        deployment,
        settings.store,
        threads=settings.threads,
        providers=settings.providers,
        slowdown=settings.emulated_slowdown,
    )
    agent = make_agent(
        settings.node,
        settings.fleet,
        model,
        settings.cascade,
        Store(settings.store),
        deadline_s=settings.deadline_ms / 1000,
        fallback=settings.fallback,
        durable=durable,
    )
    agent.watch = PredictionWatch(limit=settings.replan_ratio, window=settings.replan_window)
    if agent.replanner is not None:
        agent.replanner.every_s = settings.replan_every_s
        agent.replanner.timeout_s = settings.replan_timeout_s
        _restore_table(agent, deployment, tables)
    if isinstance(agent, CascadeAgent) and settings.plan:
        raise SpecError("a cascade's stages name their plans: leave out --plan or --cascade")
    plans = [None] if isinstance(agent, CascadeAgent) else choose_plans(model, settings.plan)
    return Generation(agent, plans)


def _restore_table(agent: DeviceAgent, deployment: Deployment, tables: TableFile) -> None:
    replanner = agent.replanner
    if replanner is None:
        return
    replanner.keep = lambda table: tables.keep(deployment, table)
    table = tables.table_for(deployment)
    if table is None:
        return
    try:
        replanner.restore(table)
    except ContractError as error:
        log.warning("kept plan table is of no use", extra={"reason": str(error)})
    else:
        log.warning(
            "kept plan table used, not the deployed one", extra={"plans": [plan.id for plan in table.plans]}
        )


def open_model(
    deployment: Deployment,
    store: Path,
    *,
    threads: int = 1,
    providers: Sequence[str] = DEFAULT_PROVIDERS,
    slowdown: float = 1.0,
) -> CutModel:
    """The device's model with its head loaded. Raises what is wrong with deployment or store."""
    model = CutModel.open(deployment, Store(store), threads=threads, providers=providers, slowdown=slowdown)
    model.load_for(Tier.DEVICE)
    return model


def choose_plans(model: CutModel, names: tuple[str, ...]) -> list[Plan | None]:
    """The plans named. None stands for choosing per frame, among those with predictions, if none is named.

    Without predictions and names, the deployment's first.
    """
    plans = model.deployment.plans
    if names:
        return [model.deployment.plan(name) for name in names]
    return [None] if any(plan.predicted for plan in plans) else [plans[0]]


def make_agent(
    node: NodeId,
    fleet: str,
    model: CutModel,
    cascade: Path | None,
    store: Store,
    *,
    deadline_s: float,
    fallback: bool,
    durable: DurableFrames | None = None,
) -> DeviceAgent:
    """An agent for one model, or for a cascade whose first stage it is. Raises what is wrong with the cascade."""
    if cascade is None:
        return DeviceAgent(node, fleet, model, deadline_s=deadline_s, fallback=fallback, durable=durable)
    models = {model.manifest.ref: model}
    opened = OpenCascade.open(read_cascade(cascade), store, models, Tier.DEVICE, node)
    return CascadeAgent(node, fleet, model, opened, deadline_s=deadline_s, fallback=fallback)


def make_shooter(agent: DeviceAgent, store: Store) -> Shooter:
    """Photos as the agent takes them: its model's, or its cascade's."""
    if isinstance(agent, CascadeAgent):
        return Shooter(agent, agent.cascade.picture, agent.cascade)
    return Shooter(agent, store.card(agent.model.manifest.model))
