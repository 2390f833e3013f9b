"""A deployment made ready to run on one tier: its card, plans, manifest and the chain of its segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tercet.errors import ContractError, NotFoundError
from tercet.identifiers import ModelRef
from tercet.inference.segment_chain import SegmentChain
from tercet.models.card import ModelCard
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.plans import Deployment, Plan, read_deployment
from tercet.tiers import Tier


class CutModel:
    """One deployment on one tier."""

    def __init__(self, deployment: Deployment, card: ModelCard, manifest: Manifest, chain: SegmentChain) -> None:
        self.deployment = deployment
        self.card = card
        self.manifest = manifest
        self.chain = chain

    @classmethod
    def open(cls, deployment: Deployment, store: Store, *, threads: int, providers: Sequence[str]) -> CutModel:
        """Read manifest and card and check the plans against them; loads no segment yet."""
        manifest = store.manifest(deployment.model)
        deployment.check_against(manifest)
        chain = SegmentChain(manifest, store, threads=threads, providers=providers)
        return cls(deployment, store.card(manifest.model), manifest, chain)

    @property
    def last_boundary(self) -> int:
        return len(self.manifest.segments)

    def load_for(self, tier: Tier) -> None:
        """Load what any plan gives `tier`."""
        wanted: set[int] = set()
        for plan in self.deployment.plans:
            wanted.update(plan.segments(tier, self.manifest))
        self.chain.load(sorted(wanted))

    def plan_for(self, plan_id: str, boundary: int, tier: Tier) -> Plan:
        """The plan of an arriving frame, if `tier` takes over at `boundary` under it; else ContractError."""
        plan = self.deployment.plan(plan_id)
        starts = {Tier.DEVICE: 0, Tier.EDGE: plan.device_until, Tier.CLOUD: plan.edge_until}
        if boundary != starts[tier]:
            raise ContractError(
                f"plan {plan.id} of {self.deployment.model} reaches the {tier} at boundary {starts[tier]}, "
                f"this frame is at {boundary}: is the sender's deployment another one?"
            )
        return plan


def open_deployments(
    paths: Iterable[Path], store: Store, *, threads: int, providers: Sequence[str]
) -> dict[ModelRef, CutModel]:
    """Every deployment by the model reference that frames carry."""
    models: dict[ModelRef, CutModel] = {}
    for path in paths:
        model = CutModel.open(read_deployment(path), store, threads=threads, providers=providers)
        models[model.manifest.ref] = model
    return models


def find_model(models: Mapping[ModelRef, CutModel], ref: str, tier: Tier) -> CutModel:
    """The model a frame is for; NotFoundError naming what this tier serves."""
    model = models.get(ModelRef(ref))
    if model is None:
        served = ", ".join(models) or "nothing"
        raise NotFoundError(f"this {tier} does not serve {ref!r} (it serves {served}): deploy it first")
    return model
