"""A deployment made ready to run on one tier: its plans, its manifest and the chain of its segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tercet.errors import ContractError, NotFoundError, SpecError
from tercet.identifiers import ModelRef
from tercet.inference.segment_chain import DEFAULT_PROVIDERS, SegmentChain
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.plans import Deployment, Plan
from tercet.tiers import Tier


class CutModel:
    """One deployment on one tier."""

    def __init__(self, deployment: Deployment, manifest: Manifest, chain: SegmentChain) -> None:
        self.deployment = deployment
        self.manifest = manifest
        self.chain = chain

    @classmethod
    def open(cls, deployment: Deployment, store: Store, *, threads: int, providers: Sequence[str]) -> CutModel:
        """Read the manifest and check the plans against it; loads no segment yet."""
        manifest = store.manifest(deployment.model)
        deployment.check_against(manifest)
        chain = SegmentChain(manifest, store, threads=threads, providers=providers)
        return cls(deployment, manifest, chain)

    @property
    def last_boundary(self) -> int:
        return len(self.manifest.segments)

    def segments_for(self, tier: Tier) -> list[int]:
        """Indices of the segments that any plan gives `tier`."""
        return sorted({index for plan in self.deployment.plans for index in plan.segments(tier, self.manifest)})

    def load_for(self, tier: Tier) -> None:
        """Load what any plan gives `tier`. Raises NotFoundError, IntegrityError, SpecError."""
        self.chain.load(self.segments_for(tier))

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
    deployments: Iterable[Deployment],
    store: Store,
    *,
    threads: int = 1,
    providers: Sequence[str] = DEFAULT_PROVIDERS,
) -> dict[ModelRef, CutModel]:
    """Every deployment by the model reference that frames carry; SpecError if a model is deployed twice."""
    models: dict[ModelRef, CutModel] = {}
    for deployment in deployments:
        model = CutModel.open(deployment, store, threads=threads, providers=providers)
        if model.manifest.ref in models:
            raise SpecError(f"model {model.manifest.ref} is deployed twice: put its plans into one deployment")
        models[model.manifest.ref] = model
    return models


def find_model(models: Mapping[ModelRef, CutModel], ref: str, tier: Tier) -> CutModel:
    """The model a frame is for; NotFoundError naming what this tier serves."""
    model = models.get(ModelRef(ref))
    if model is None:
        served = ", ".join(models) or "nothing"
        raise NotFoundError(f"this {tier} does not serve {ref!r} (it serves {served}): deploy it first")
    return model
