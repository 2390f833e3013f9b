"""One durable frame as it arrives in the cloud, and the result that is kept of it.

Decides what a frame must be to be taken; plain functions over the models that are served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tercet.codecs.codec import Array
from tercet.cut_model import CutModel, find_model
from tercet.durable.capture_time import MAX_AGE_MS, AgeSource
from tercet.errors import ContractError, TercetError
from tercet.identifiers import ModelRef
from tercet.models.card import ModelCard
from tercet.models.classification import classify
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet.v1 import delivery_pb2
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet_cloud.results.result import Result, ResultKey

DEGRADED = "computed to the end before it came to the cloud"


@dataclass(frozen=True)
class DurableFrame:
    """A frame that may be computed. `age_us` is since its capture, `resends` how often it was sent before."""

    key: ResultKey
    sealed: bytes = field(repr=False)
    model: str
    plan: str
    age_us: int
    age_source: AgeSource
    resends: int
    reason: str


def open_durable(delivery: delivery_pb2.Delivery, models: Mapping[ModelRef, CutModel]) -> DurableFrame:
    """Check everything that can be checked without decoding a tensor.

    Raises:
        WireFormatError, FrameTooLargeError, TensorContractError: as `Frame.open`.
        NotFoundError, SpecError, ContractError: not durable, or not a frame for this cloud.
    """
    header = Frame.open(delivery.frame).header
    if header.delivery != pb.DELIVERY_CLASS_DURABLE or header.deadline_ms or header.probe:
        raise ContractError("only durable frames without a deadline are delivered: ask for others by Infer")
    if any(tensor.codec.startswith("delta:") for tensor in header.tensors):
        raise ContractError("a durable frame must not differ from another one: send it without delta")
    key = ResultKey.of(header)
    model = find_model(models, header.model, Tier.CLOUD)
    plan = model.plan_for(header, Tier.CLOUD)
    believable = delivery.age_ms <= MAX_AGE_MS
    return DurableFrame(
        key=key,
        sealed=delivery.frame,
        model=header.model,
        plan=plan.id,
        age_us=delivery.age_ms * 1000 if believable else 0,
        age_source=AgeSource.from_wire(delivery.age_source) if believable else AgeSource.UNKNOWN,
        resends=delivery.resends,
        reason=DEGRADED if plan.edge_until < header.boundary else "",
    )


def key_of(delivery: delivery_pb2.Delivery) -> ResultKey:
    """What a delivery says that it is, for its receipt; nothing of it may be trusted."""
    try:
        header = Frame.open(delivery.frame).header
    except TercetError:
        return ResultKey("", 0)
    return ResultKey(header.node, header.sequence)


def result_of(frame: DurableFrame, sealed_answer: bytes, arrived_unix_us: int, card: ModelCard | None) -> Result:
    """What to keep of a frame that was computed. Raises the error that the answer carries, if it does."""
    answer = Answer.open(sealed_answer)
    outputs = answer.outputs()
    if frame.reason:
        answer.header.route.degraded = True
        answer.header.route.reason = frame.reason
        sealed_answer = answer.seal()
    label, confidence = _best(outputs, card)
    return Result(
        key=frame.key,
        model=frame.model,
        plan=frame.plan,
        outputs=sealed_answer,
        captured_unix_us=max(0, arrived_unix_us - frame.age_us),
        age_source=frame.age_source,
        received_unix_us=arrived_unix_us,
        degraded=bool(frame.reason),
        reason=frame.reason,
        label=label,
        confidence=confidence,
    )


def find_card(store: Store, model: str) -> ModelCard | None:
    """The card of a model, if this store has a usable one: results are then labelled."""
    try:
        return store.card(model)
    except ContractError:
        return None


def _best(outputs: Mapping[str, Array], card: ModelCard | None) -> tuple[str | None, float | None]:
    if card is None or not card.labels or card.output not in outputs:
        return None, None
    scores = outputs[card.output]
    if scores.size != len(card.labels):
        return None, None
    try:
        best = classify(scores)
    except TercetError:
        return None, None
    return card.labels[best.index], best.confidence
