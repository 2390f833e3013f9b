"""Plans: which segments run where, and how boundaries are coded. A deployment is a cut model with plans."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator

from tercet.codecs import parse_spec
from tercet.codecs.image import MAX_SIDE, is_image_codec
from tercet.documents import Document, read_document
from tercet.errors import NotFoundError, SpecError
from tercet.identifiers import ModelRef, Name, PlanId
from tercet.models.card import ImageInput, ModelCard
from tercet.models.manifest import Boundary, Manifest
from tercet.tiers import Tier

NotNegative = Annotated[FiniteFloat, Field(ge=0)]


class LinkCodecs(Document):
    """The codec of the boundary that crosses each link."""

    device_edge: str = "raw"
    edge_cloud: str = "raw"

    @field_validator("device_edge", "edge_cloud")
    @classmethod
    def _known(cls, spec: str) -> str:
        try:
            return str(parse_spec(spec))
        except SpecError as error:
            raise ValueError(str(error)) from error


class PlanPrediction(Document):
    """What the planner expects of one frame under a plan, apart from links: those are measured where they are.

    Tier times are busy times with coding, in ms; 0 where a tier has nothing to do. `device_edge_bytes` and
    `edge_cloud_bytes` are coded and travel up, `answer_bytes` travel back; 0 where a link is not used.
    `agreement` with the uncut model, 0…1, as measured on calibration inputs.
    """

    device_ms: NotNegative
    edge_ms: NotNegative
    cloud_ms: NotNegative
    device_edge_bytes: NotNegative
    edge_cloud_bytes: NotNegative
    answer_bytes: NotNegative
    agreement: Annotated[FiniteFloat, Field(ge=0, le=1)]


def canonical_plan_id(device_until: int, edge_until: int, codecs: LinkCodecs) -> PlanId:
    """The id of a plan that no deployment has: it says the cuts, and the codecs by 8 hex digits of their sha256."""
    text = f"{codecs.device_edge} {codecs.edge_cloud}"
    return PlanId(f"r-{device_until}-{edge_until}-{hashlib.sha256(text.encode()).hexdigest()[:8]}")


class Plan(Document):
    """One way to run a cut model.

    The device runs segments [0, device_until), the edge [device_until, edge_until), the cloud the rest:
    both numbers are boundary indices. A tier may have nothing to run.
    """

    id: Name
    device_until: Annotated[int, Field(ge=0)]
    edge_until: Annotated[int, Field(ge=0)]
    codecs: LinkCodecs = LinkCodecs()
    # Set by `tercet plan`; what adaptive choice goes by.
    predicted: PlanPrediction | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.device_until > self.edge_until:
            raise ValueError("data flows device → edge → cloud: device_until must not exceed edge_until")
        return self

    @property
    def passes_edge(self) -> bool:
        """Whether the edge passes frames on as they came: it computes nothing, and both links have one codec.

        With different codecs it decodes and codes anew.
        """
        return self.device_until == self.edge_until and self.codecs.device_edge == self.codecs.edge_cloud

    def runs_as(self, other: Plan) -> bool:
        """Whether both have the same cuts and codecs, whatever they are called."""
        return (self.device_until, self.edge_until, self.codecs) == (
            other.device_until,
            other.edge_until,
            other.codecs,
        )

    def crossings(self) -> tuple[tuple[str, int, str], ...]:
        """Each link, the boundary that crosses it, and its codec."""
        return (
            ("device_edge", self.device_until, self.codecs.device_edge),
            ("edge_cloud", self.edge_until, self.codecs.edge_cloud),
        )

    def segments(self, tier: Tier, manifest: Manifest) -> range:
        """Indices of the segments that `tier` runs under this plan."""
        match tier:
            case Tier.DEVICE:
                return range(self.device_until)
            case Tier.EDGE:
                return range(self.device_until, self.edge_until)
            case Tier.CLOUD:
                return range(self.edge_until, len(manifest.segments))


class Deployment(Document):
    """What an operator asks the tiers to run: `deployment.yaml`."""

    format: Literal[1] = 1
    model: ModelRef
    plans: Annotated[tuple[Plan, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len({plan.id for plan in self.plans}) != len(self.plans):
            raise ValueError("two plans have the same id")
        return self

    def plan(self, plan_id: PlanId | str) -> Plan:
        for plan in self.plans:
            if plan.id == plan_id:
                return plan
        known = ", ".join(plan.id for plan in self.plans)
        raise NotFoundError(f"plan {plan_id!r} is not one of model {self.model} here (known: {known})")

    @property
    def codes_images(self) -> bool:
        """Whether a plan has an image codec."""
        return any(is_image_codec(parse_spec(spec)) for plan in self.plans for _, _, spec in plan.crossings())

    def check_against(self, manifest: Manifest, card: ModelCard | None = None) -> None:
        """SpecError if a plan names a boundary that the manifest does not have, or pictures where there are none.

        Args:
            card: the model's, where it is at hand: image codecs need an image input.
        """
        for plan in self.plans:
            check_plan(plan, manifest, card)


def check_plan(plan: Plan, manifest: Manifest, card: ModelCard | None = None) -> None:
    """SpecError as `Deployment.check_against`, for one plan."""
    last = len(manifest.segments)
    if plan.edge_until > last:
        raise SpecError(
            f"plan {plan.id} cuts at boundary {plan.edge_until}, but {manifest.ref} has boundaries 0 to {last}"
        )
    for link, boundary, spec in plan.crossings():
        if is_image_codec(parse_spec(spec)):
            why = _no_pictures(manifest, boundary, card)
            if why:
                raise SpecError(f"plan {plan.id}: codec {spec} on the {link} link codes photos, but {why}")


def _no_pictures(manifest: Manifest, boundary: int, card: ModelCard | None) -> str | None:
    """Why the tensors of a boundary are no photos; None if they are."""
    if boundary != 0:
        return f"boundary {boundary} crosses there; only boundary 0 is the photo itself"
    if card is not None and not isinstance(card.input, ImageInput):
        return f"the card of {card.name} says that it takes {card.input.kind}s"
    if not _may_be_photo(manifest.boundaries[0]):
        return "the model's input is not one tensor (N, 3, H, W) float32"
    return None


def _may_be_photo(boundary: Boundary) -> bool:
    first = boundary.tensors[0]
    return (
        len(boundary.tensors) == 1
        and first.dtype == "float32"
        and len(first.shape) == 4
        and first.shape[1] in (3, None)
        and all(side is None or 1 <= side <= MAX_SIDE for side in first.shape[2:])
    )


def read_deployment(path: Path) -> Deployment:
    return read_document(Deployment, path)
