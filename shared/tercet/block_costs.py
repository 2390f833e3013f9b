"""What the blocks of one cut model cost on every tier, and what coding costs between them.

`tercet plan` leaves it in the store beside the manifest, so that other plans over the same blocks can be priced
later without measuring, slicing or loading anything. Nothing here is about links: those measure themselves.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator

from tercet.codecs import parse_spec
from tercet.documents import Document
from tercet.errors import SpecError
from tercet.identifiers import ModelRef
from tercet.models.manifest import Manifest
from tercet.plans import LinkCodecs, Plan, PlanPrediction, canonical_plan_id
from tercet.tiers import Tier

NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
_NO_CODING = "raw"


class TierTimes(Document):
    """One figure for each tier."""

    device: NotNegative
    edge: NotNegative
    cloud: NotNegative

    def of(self, tier: Tier) -> float:
        return {Tier.DEVICE: self.device, Tier.EDGE: self.edge, Tier.CLOUD: self.cloud}[tier]


class BoundaryCoding(Document):
    """One codec at one boundary: mean bytes of a frame with its header, median times on the machine that measured.

    `agreement` with the uncut model if this is the only coding on the way that loses anything, 0…1, as measured; 1
    for lossless codecs. None: not measured, or too inaccurate for what the plan was asked, so no plan may use it.
    """

    spec: str
    bytes: NotNegative
    encode_ms: NotNegative
    decode_ms: NotNegative
    agreement: Share | None = None
    lossless: bool = False

    @field_validator("spec")
    @classmethod
    def _canonical(cls, spec: str) -> str:
        try:
            return str(parse_spec(spec))
        except SpecError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _lossless_agrees(self) -> Self:
        if self.lossless and self.agreement != 1:
            raise ValueError(f"{self.spec} loses nothing, so it agrees always")
        return self


class PairAgreement(Document):
    """Agreement of a way that loses something on both links, as measured."""

    first: Annotated[int, Field(ge=0)]
    second: Annotated[int, Field(ge=0)]
    codecs: tuple[str, str]
    agreement: Share


class BlockCosts(Document):
    """Prices every plan over the blocks of one manifest.

    Attributes:
        blocks: ms of each block on each tier, in order.
        session_ms: of one more session, by tier: paid once by a tier that computes or codes.
        coding_pace: how many times slower than the machine that measured it each tier codes.
        boundaries: codings that may cross there; empty at the last one, and where nothing may cross.
        pairs: what was measured with losses on both links; no other pair of lossy codings may be planned.
        barred_cuts: (device_until, edge_until) that break a limit of memory.
        answer_bytes: the model's outputs as they travel back.
    """

    format: Literal[1] = 1
    model: ModelRef
    blocks: Annotated[tuple[TierTimes, ...], Field(min_length=1)]
    session_ms: TierTimes
    coding_pace: TierTimes
    boundaries: tuple[tuple[BoundaryCoding, ...], ...]
    pairs: tuple[PairAgreement, ...] = ()
    barred_cuts: tuple[tuple[int, int], ...] = ()
    answer_bytes: NotNegative

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.boundaries) != len(self.blocks) + 1:
            raise ValueError(f"{len(self.blocks)} blocks have {len(self.blocks) + 1} boundaries between and around")
        for index, codings in enumerate(self.boundaries):
            if len({coding.spec for coding in codings}) != len(codings):
                raise ValueError(f"boundary {index} has two codings of the same codec")
        if self.boundaries[-1]:
            raise ValueError("nothing crosses at the last boundary: answers travel back raw")
        for pair in self.pairs:
            if not pair.first <= pair.second < len(self.blocks):
                raise ValueError(f"a pair at boundaries {pair.first} and {pair.second} is not one of these")
        return self

    @property
    def last_boundary(self) -> int:
        return len(self.blocks)

    def check_against(self, manifest: Manifest) -> None:
        """SpecError if these are not the costs of the manifest's blocks."""
        if self.model != manifest.ref or len(self.blocks) != len(manifest.segments):
            raise SpecError(
                f"block costs of {self.model} with {len(self.blocks)} blocks are not those of {manifest.ref} with "
                f"{len(manifest.segments)}: run `tercet plan {manifest.model}` again"
            )

    def coding(self, boundary: int, spec: str) -> BoundaryCoding:
        """SpecError naming what there is, for a codec that was not measured there."""
        for coding in self.boundaries[boundary]:
            if coding.spec == spec:
                return coding
        known = ", ".join(coding.spec for coding in self.boundaries[boundary]) or "none"
        raise SpecError(f"codec {spec} has no costs at boundary {boundary} of {self.model} (there: {known})")

    def agreement(self, first: int, first_spec: str, second: int, second_spec: str) -> float | None:
        """Of a whole way; None where it was not measured. A boundary that is the last one is not crossed."""
        crossed = [
            (boundary, self.coding(boundary, spec))
            for boundary, spec in ((first, first_spec), (second, second_spec))
            if boundary < self.last_boundary
        ]
        if first == second and first_spec == second_spec:
            crossed = crossed[:1]
        lossy = [coding for _, coding in crossed if not coding.lossless]
        if len(lossy) < 2:
            return lossy[0].agreement if lossy else 1.0
        for pair in self.pairs:
            if (pair.first, pair.second, pair.codecs) == (first, second, (first_spec, second_spec)):
                return pair.agreement
        return None

    def plan(self, device_until: int, edge_until: int, device_edge: str, edge_cloud: str) -> Plan | None:
        """The plan with what is predicted of it; None if its accuracy was not measured.

        Links that are not used have codec raw, whatever was given.
        """
        last = self.last_boundary
        if not 0 <= device_until <= edge_until <= last:
            raise SpecError(
                f"{self.model} has boundaries 0 to {last}: it cannot be cut at {device_until}, {edge_until}"
            )
        codecs = LinkCodecs(
            device_edge=device_edge if device_until < last else _NO_CODING,
            edge_cloud=edge_cloud if edge_until < last else _NO_CODING,
        )
        agreement = self.agreement(device_until, codecs.device_edge, edge_until, codecs.edge_cloud)
        if agreement is None:
            return None
        plan = Plan(
            id=canonical_plan_id(device_until, edge_until, codecs),
            device_until=device_until,
            edge_until=edge_until,
            codecs=codecs,
        )
        return plan.model_copy(update={"predicted": self.predict(plan, agreement)})

    def predict(self, plan: Plan, agreement: float) -> PlanPrediction:
        """What one frame costs under a plan, on tiers as fast as they were measured."""
        last, session, pace = self.last_boundary, self.session_ms, self.coding_pace
        starts = {Tier.DEVICE: 0, Tier.EDGE: plan.device_until, Tier.CLOUD: plan.edge_until}
        stops = {Tier.DEVICE: plan.device_until, Tier.EDGE: plan.edge_until, Tier.CLOUD: last}
        busy = {tier: sum(block.of(tier) for block in self.blocks[starts[tier] : stops[tier]]) for tier in Tier}
        sizes = {Tier.EDGE: 0.0, Tier.CLOUD: 0.0}
        passes = plan.passes_edge and plan.edge_until < last
        if plan.device_until > 0:
            busy[Tier.DEVICE] += session.device
        if plan.device_until < last:
            first = self.coding(plan.device_until, plan.codecs.device_edge)
            sizes[Tier.EDGE] = first.bytes
            busy[Tier.DEVICE] += first.encode_ms * pace.device
            if not passes:
                busy[Tier.EDGE] += session.edge + first.decode_ms * pace.edge
        if plan.edge_until < last:
            second = self.coding(plan.edge_until, plan.codecs.edge_cloud)
            sizes[Tier.CLOUD] = second.bytes
            busy[Tier.CLOUD] += session.cloud + second.decode_ms * pace.cloud
            if not passes:
                busy[Tier.EDGE] += second.encode_ms * pace.edge
        return PlanPrediction(
            device_ms=busy[Tier.DEVICE],
            edge_ms=busy[Tier.EDGE],
            cloud_ms=busy[Tier.CLOUD],
            device_edge_bytes=sizes[Tier.EDGE],
            edge_cloud_bytes=sizes[Tier.CLOUD],
            answer_bytes=self.answer_bytes if plan.device_until < last else 0.0,
            agreement=agreement,
        )
