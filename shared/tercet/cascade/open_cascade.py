"""A cascade made ready on one tier: its document held against the models that are here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tercet.cascade.document import Cascade, CascadeStage
from tercet.cascade.live_exit import LiveExit
from tercet.cascade.stage_input import adapt_input, check_inputs_fit, needs_resize, require_resize
from tercet.codecs import CodecContext, parse_spec
from tercet.codecs.codec import Array
from tercet.codecs.image import is_image_codec, require_pillow
from tercet.cut_model import CutModel
from tercet.errors import ContractError, NotFoundError, SpecError, TercetError
from tercet.identifiers import ModelRef
from tercet.inference.quantise_kernel import static_kernel
from tercet.models.card import ImageInput, ModelCard
from tercet.models.store import Store
from tercet.plans import Plan
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer

Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class OpenStage:
    """One stage as this tier knows it.

    Attributes:
        picture: the card of the input that crosses: the last stage's.
        model: where the stage's frames are computed or routed here.
        exit: where they are judged here.
    """

    index: int
    spec: CascadeStage
    card: ModelCard
    picture: ModelCard
    model: CutModel | None = None
    exit: LiveExit | None = None

    def adapt(self, tensors: Tensors) -> dict[str, Array]:
        """The stage's own input, from the one that crosses."""
        return adapt_input(tensors, self.picture.input, self.card.input)

    def opened(self) -> tuple[CutModel, Plan]:
        """Model and plan; SpecError if this tier has not got them."""
        if self.model is None:
            raise SpecError(f"stage {self.index}, {self.spec.model}, is not deployed here")
        return self.model, self.model.deployment.plan(self.spec.plan)


class OpenCascade:
    """One cascade on one tier.

    `codecs` codes the input that crosses.
    """

    def __init__(self, document: Cascade, stages: tuple[OpenStage, ...], codecs: CodecContext) -> None:
        self.document = document
        self.stages = stages
        self.codecs = codecs
        self._outputs = {stage.spec.model: stage.card.output for stage in stages}

    @classmethod
    def open(
        cls, document: Cascade, store: Store, models: Mapping[ModelRef, CutModel], tier: Tier, node: str
    ) -> OpenCascade:
        """Check the cascade against cards, manifests and deployments of this tier.

        Args:
            models: deployed here; of the stage on this tier, and for an edge of those beyond.
            node: this node's name.
        Raises:
            SpecError: it is for other versions of the models, its stages do not go together, or its plans do
                something else than the cascade needs.
            NotFoundError: a card is not in the store, or a plan not in its deployment.
            MissingExtraError: pictures have to be coded or resized here, and there is no Pillow.
        """
        cards = [store.card(stage.model.partition("@")[0]) for stage in document.stages]
        check_inputs_fit(cards)
        picture = cards[-1]
        if isinstance(picture.input, ImageInput) != is_image_codec(parse_spec(document.escalate)):
            raise SpecError(
                f"cascade {document.name}: escalate: {document.escalate} does not go with the input of "
                f"{picture.name}: photos cross by a codec for photos (png, webp:75, …), tensors by another"
            )
        stages = []
        for index, (spec, card) in enumerate(zip(document.stages, cards, strict=True)):
            _check_version(store, spec.model, card)
            model = _deployed(document, spec, models, tier)
            live = None
            if spec.tier == tier and spec.exit is not None:
                live = LiveExit(document.ref, index, spec, card.output, document.audit, node)
            stages.append(OpenStage(index, spec, card, picture, model, live))
            if spec.tier == tier and needs_resize(picture.input, card.input):
                require_resize()
        image = picture.input if isinstance(picture.input, ImageInput) else None
        own = any(spec.tier == tier for spec in document.stages)
        if image is not None and (tier == Tier.DEVICE or own):
            require_pillow(document.escalate)
        return cls(document, tuple(stages), CodecContext(store, image, static_kernel()))

    @property
    def ref(self) -> str:
        return self.document.ref

    @property
    def picture(self) -> ModelCard:
        """The card that says how a photo becomes the cascade's input: the last stage's."""
        return self.stages[-1].card

    def stage_on(self, tier: Tier) -> OpenStage | None:
        return next((stage for stage in self.stages if stage.spec.tier == tier), None)

    def after(self, stage: OpenStage | None) -> OpenStage:
        """The next stage; the first after None."""
        return self.stages[0 if stage is None else stage.index + 1]

    def stage_of(self, header: pb.FrameHeader) -> OpenStage:
        """The stage that a frame of this cascade is for; ContractError if it says two different things."""
        if header.stage >= len(self.stages):
            raise ContractError(
                f"{self.ref} has stages 0 to {len(self.stages) - 1}, this frame is for {header.stage}"
            )
        stage = self.stages[header.stage]
        if (header.model, header.plan, header.boundary) != (stage.spec.model, stage.spec.plan, 0):
            raise ContractError(
                f"stage {header.stage} of {self.ref} takes the input of {stage.spec.model} by plan "
                f"{stage.spec.plan}, this frame is of {header.model!r} by plan {header.plan!r} at boundary "
                f"{header.boundary}"
            )
        return stage

    def output_of(self, model: str) -> str | None:
        """The output with the class scores of the stage that has this model; None if there is none."""
        return self._outputs.get(ModelRef(model))

    def verdict_label(self, answer: Answer, *, audited: bool) -> int | None:
        """The label that an escalated frame's answer gives; None if it says nothing about the stage before.

        An audited frame is judged by the last stage alone. A stage's own answer that was only given for want of a
        better one judges nothing.
        """
        output = self.output_of(answer.header.model)
        last = answer.header.model == self.stages[-1].spec.model
        if output is None or answer.refusal is not None or (not last and (audited or answer.header.route.degraded)):
            return None
        try:
            return int(np.argmax(answer.outputs()[output]))
        except (TercetError, KeyError, ValueError):
            return None

    def status(self) -> dict[str, object]:
        """For health."""
        return {"cascade": self.ref, "exits": self.exits_status()}

    def exits_status(self) -> list[dict[str, object]]:
        """Of every exit that is watched here."""
        return [stage.exit.status() for stage in self.stages if stage.exit]

    def answering_stage(self, answer: Answer) -> int | None:
        """The index of the stage whose answer it is; None for a refusal."""
        if answer.refusal is not None:
            return None
        return next((stage.index for stage in self.stages if stage.spec.model == answer.header.model), None)


def find_cascade(cascades: Mapping[str, OpenCascade], ref: str, tier: Tier) -> OpenCascade:
    """The cascade a frame is of; NotFoundError naming those that run here."""
    found = cascades.get(ref)
    if found is None:
        running = ", ".join(cascades) or "none"
        raise NotFoundError(
            f"this {tier} does not run cascade {ref!r} (it runs {running}): start it with the same cascade.yaml"
        )
    return found


def _check_version(store: Store, ref: ModelRef, card: ModelCard) -> None:
    """SpecError if the card here is another version's than the stage's, as far as the manifest is here to tell."""
    try:
        manifest = store.manifest(ref)
    except NotFoundError:
        return
    if manifest.model_sha256 != card.onnx.sha256:
        raise SpecError(
            f"the cascade's stage {ref} was cut from another version of {card.name} than the store's card "
            "describes: calibrate the cascade again"
        )


def _deployed(
    document: Cascade, spec: CascadeStage, models: Mapping[ModelRef, CutModel], tier: Tier
) -> CutModel | None:
    """The stage's model, where this tier computes or routes its frames."""
    order = list(Tier)
    needed = spec.tier == tier or (tier == Tier.EDGE and order.index(spec.tier) > order.index(tier))
    model = models.get(spec.model)
    if model is None:
        if not needed:
            return None
        name = spec.model.partition("@")[0]
        other = next((ref for ref in models if ref.partition("@")[0] == name), None)
        if other is not None:
            raise SpecError(
                f"cascade {document.name} was calibrated with {spec.model}, but {other} is deployed: calibrate it "
                "again, or deploy the version it is for"
            )
        raise SpecError(f"cascade {document.name} needs {spec.model} on this {tier}: name its deployment as well")
    _check_plan(document, spec, model.deployment.plan(spec.plan), model.last_boundary)
    return model


def _check_plan(document: Cascade, spec: CascadeStage, plan: Plan, last: int) -> None:
    """SpecError unless the plan gives the stage's tier all of the model; of a cloud's the edge may have a part."""
    fits = {
        Tier.DEVICE: plan.device_until == last,
        Tier.EDGE: plan.device_until == 0 and plan.edge_until == last,
        Tier.CLOUD: plan.device_until == 0 and plan.edge_until < last,
    }[spec.tier]
    if not fits:
        raise SpecError(
            f"cascade {document.name} runs {spec.model} on the {spec.tier}, but plan {plan.id} cuts it at "
            f"{plan.device_until} and {plan.edge_until} of {last}: a stage's model is computed by its own tier"
        )
    if spec.tier == Tier.CLOUD and plan.edge_until == 0 and not plan.passes_edge:
        raise SpecError(
            f"plan {plan.id} of {spec.model} has different codecs on the two links, so the edge would code the "
            "input anew: write the same for both"
        )
