"""A deployment made ready to run on one tier: its plans, its manifest and the chain of its segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tercet.carried_plan import open_carried_plan
from tercet.codecs import BARE, CodecContext, parse_spec
from tercet.codecs.image import is_image_codec, require_pillow
from tercet.emulated_pace import EmulatedPace
from tercet.errors import ContractError, NotFoundError, SpecError
from tercet.identifiers import ModelRef
from tercet.inference.quantise_kernel import static_kernel
from tercet.inference.segment_chain import DEFAULT_PROVIDERS, SegmentChain
from tercet.models.card import ImageInput, ModelCard
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.plans import Deployment, Plan, check_plan
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb

_KEPT_CARRIED = 64


class CutModel:
    """One deployment on one tier.

    `codecs` makes the codecs of its links. Its image is the card's input, if a plan codes photos and the card is
    here (tiers that only decode or pass on need none).
    """

    def __init__(
        self,
        deployment: Deployment,
        manifest: Manifest,
        chain: SegmentChain,
        codecs: CodecContext = BARE,
    ) -> None:
        self.deployment = deployment
        self.manifest = manifest
        self.chain = chain
        self.codecs = codecs
        self._carried: dict[tuple[str, int, int, str, str, Tier], Plan] = {}
        self._former: dict[str, list[Plan]] = {}

    @classmethod
    def open(
        cls,
        deployment: Deployment,
        store: Store,
        *,
        threads: int,
        providers: Sequence[str],
        slowdown: float = 1.0,
    ) -> CutModel:
        """Read the manifest and check the plans against it; loads no segment yet.

        Args:
            slowdown: emulation of a tier so many times slower, see `tercet.emulated_pace`.
        """
        manifest = store.manifest(deployment.model)
        card = _find_card(store, manifest.model) if deployment.codes_images else None
        deployment.check_against(manifest, card)
        chain = SegmentChain(manifest, store, threads=threads, providers=providers, slowdown=slowdown)
        image = card.input if card and isinstance(card.input, ImageInput) else None
        return cls(deployment, manifest, chain, CodecContext(store, image, static_kernel()))

    @property
    def pace(self) -> EmulatedPace:
        """What coding on this tier keeps to, as the chain does by itself."""
        return self.chain.pace

    @property
    def last_boundary(self) -> int:
        return len(self.manifest.segments)

    def segments_for(self, tier: Tier) -> list[int]:
        """Indices of the segments that any plan gives `tier`."""
        return sorted({index for plan in self.deployment.plans for index in plan.segments(tier, self.manifest)})

    def load_for(self, tier: Tier) -> None:
        """Load what any plan gives `tier`, and see that it can code what crosses its links.

        Raises:
            NotFoundError, IntegrityError, SpecError: something is missing, altered or impossible.
            MissingExtraError: plans code photos here, and there is no Pillow.
        """
        for plan in self.deployment.plans:
            self._check_photos(plan, tier)
        self.chain.load(self.segments_for(tier))

    def serve_also(self, former: Iterable[Plan], tier: Tier) -> None:
        """Take frames by plans of earlier deployments too, as far as `tier` can do its part.

        They may be on their way, and their senders may not have heard of this deployment yet. Plans that were given
        first go first.
        """
        for plan in former:
            try:
                check_plan(plan, self.manifest)
            except SpecError:
                continue
            if self.holds(plan, tier):
                self._former.setdefault(plan.id, []).append(plan)

    def _plan(self, plan_id: str, boundary: int, tier: Tier) -> Plan:
        """The plan of that name; of several, from earlier deployments, the newest that reaches `tier` there."""
        former = self._former.get(plan_id, [])
        known = [plan for plan in self.deployment.plans if plan.id == plan_id]
        fitting = [plan for plan in (*known, *former) if _first_boundary(plan, tier) == boundary]
        return next(iter((*fitting, *known, *former)), None) or self.deployment.plan(plan_id)

    def _carried_plan(self, plan_id: str, spec: pb.PlanSpec, tier: Tier) -> Plan:
        """Checked once, as looking through the store for every frame would take long."""
        key = (plan_id, spec.device_until, spec.edge_until, spec.device_edge, spec.edge_cloud, tier)
        plan = self._carried.get(key)
        if plan is None:
            plan = open_carried_plan(plan_id, spec, self.manifest)
            self.check_runs(plan, tier)
            if len(self._carried) >= _KEPT_CARRIED:
                self._carried.clear()
            self._carried[key] = plan
        return plan

    def holds(self, plan: Plan, tier: Tier) -> bool:
        """Whether the segments that a plan gives `tier` are in this store."""
        return all(index in self.held_segments for index in plan.segments(tier, self.manifest))

    @property
    def held_segments(self) -> frozenset[int]:
        """Indices of the segments that are in this store, loaded or not."""
        return self.chain.held

    def check_runs(self, plan: Plan, tier: Tier) -> None:
        """See that `tier` can do its part of a plan that is not of this deployment; loads nothing.

        Raises:
            NotFoundError: a segment, calibration or card is not in this store.
            MissingExtraError: the plan codes photos here, and there is no Pillow.
        """
        if not self.holds(plan, tier):
            raise NotFoundError(
                f"plan {plan.id} gives this {tier} segments of {self.manifest.ref} that are not in its store: copy "
                "them there"
            )
        self._check_photos(plan, tier)
        links = {Tier.DEVICE: [0], Tier.EDGE: [0, 1], Tier.CLOUD: [1]}[tier]
        for link, boundary, spec in (plan.crossings()[place] for place in links):
            if boundary < self.last_boundary and not (tier is Tier.EDGE and plan.passes_edge):
                self._check_calibrated(f"plan {plan.id}, {link} link", spec, boundary)

    def _check_calibrated(self, what: str, spec: str, boundary: int) -> None:
        if "static@" not in spec:
            return
        for tensor in self.manifest.boundaries[boundary].names:
            try:
                self.codecs.codec(spec, tensor)
            except ContractError as error:
                raise NotFoundError(f"{what}: codec {spec} cannot be used here: {error}") from error

    def _check_photos(self, plan: Plan, tier: Tier) -> None:
        first, second = plan.codecs.device_edge, plan.codecs.edge_cloud
        decodes: list[str] = []
        encodes: list[str] = []
        match tier:
            case Tier.DEVICE if plan.device_until == 0:
                encodes.append(first)
            case Tier.EDGE if plan.device_until == 0 and not plan.passes_edge:
                decodes.append(first)
                if plan.edge_until == 0:
                    encodes.append(second)
            case Tier.CLOUD if plan.edge_until == 0:
                decodes.append(second)
        for spec in filter(_codes_photos, encodes):
            if self.codecs.image is None:
                raise NotFoundError(
                    f"plan {plan.id} codes photos by {spec}, but the card of {self.manifest.model} is not in this "
                    f"{tier}'s store: copy it there"
                )
        for spec in filter(_codes_photos, [*decodes, *encodes]):
            require_pillow(spec)

    def plan_for(self, header: pb.FrameHeader, tier: Tier) -> Plan:
        """The plan of an arriving frame: the deployment's, or for a name that it does not have the frame's own.

        A durable frame may come with its outputs, at the last boundary: some tier before computed the rest while it
        could not hand the frame on.

        Raises:
            ContractError: no such plan, one that cannot be, or `tier` does not take over at the frame's boundary.
        """
        boundary = header.boundary
        if header.HasField("plan_spec") and all(plan.id != header.plan for plan in self.deployment.plans):
            plan = self._carried_plan(header.plan, header.plan_spec, tier)
        else:
            plan = self._plan(header.plan, boundary, tier) if self._former else self.deployment.plan(header.plan)
        start = _first_boundary(plan, tier)
        if header.delivery == pb.DELIVERY_CLASS_DURABLE and boundary == self.last_boundary:
            return plan
        if boundary != start:
            raise ContractError(
                f"plan {plan.id} of {self.deployment.model} reaches the {tier} at boundary {start}, "
                f"this frame is at {boundary}: is the sender's deployment another one?"
            )
        return plan


def _first_boundary(plan: Plan, tier: Tier) -> int:
    """Where a plan reaches a tier."""
    return {Tier.DEVICE: 0, Tier.EDGE: plan.device_until, Tier.CLOUD: plan.edge_until}[tier]


def _codes_photos(spec: str) -> bool:
    return is_image_codec(parse_spec(spec))


def _find_card(store: Store, name: str) -> ModelCard | None:
    try:
        return store.card(name)
    except NotFoundError:
        return None


def open_deployments(
    deployments: Iterable[Deployment],
    store: Store,
    *,
    threads: int = 1,
    providers: Sequence[str] = DEFAULT_PROVIDERS,
    slowdown: float = 1.0,
) -> dict[ModelRef, CutModel]:
    """Every deployment by the model reference that frames carry; SpecError if a model is deployed twice."""
    models: dict[ModelRef, CutModel] = {}
    for deployment in deployments:
        model = CutModel.open(deployment, store, threads=threads, providers=providers, slowdown=slowdown)
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
