"""Takes custody of devices' durable frames: checks each, puts it into the journal, says so once it is on the disk.

What could never be computed or stored is refused at the door, with the reason, so that its device does not wait for
it. Everything else that can be wrong shows when the frame is computed (`journal_drain`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from tercet.cut_model import CutModel, find_model
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.capture_time import AgeSource, CaptureStamp
from tercet.durable.journal import Arrival, Journal, Taken
from tercet.durable.receipts import refused
from tercet.durable.taking import MAX_SEQUENCE
from tercet.errors import ContractError, OverloadedError, TercetError
from tercet.identifiers import ModelRef, NodeId
from tercet.tiers import Tier
from tercet.v1 import delivery_pb2 as pb
from tercet.v1 import frame_pb2
from tercet.wire.messages import Frame

log = logging.getLogger(__name__)

_OUTCOMES = {Taken.NEW: pb.DELIVERY_OUTCOME_TAKEN, Taken.DUPLICATE: pb.DELIVERY_OUTCOME_DUPLICATE}


@dataclass(frozen=True)
class _Refusal:
    """Of a frame at the door; `node` and `sequence` as far as they could be read."""

    node: str
    sequence: int
    error: TercetError


class Custody:
    """Of one edge. For one event loop.

    Args:
        models: whose frames are taken.
        journal: the edge's own.
    """

    def __init__(
        self, node: NodeId, models: Mapping[ModelRef, CutModel], journal: Journal, clock: CaptureClock
    ) -> None:
        self.node = node
        self._models = models
        self._journal = journal
        self._clock = clock
        self.refused = 0

    async def take(self, request: pb.DeliverRequest, device: NodeId) -> pb.DeliverResponse:
        """Receipts for the frames of a message, in order, once all that are taken are on the disk.

        Args:
            device: whose message it is; frames of other nodes are refused.
        If cancelled, frames may have been taken without a receipt; they come again, and are duplicates then.
        """
        now = self._clock.now()
        checked = [self._check(delivery, device, now) for delivery in request.deliveries]
        arrivals = [one for one in checked if isinstance(one, Arrival)]
        outcomes = iter(await self._journal.take(arrivals) if arrivals else [])
        receipts = [next(outcomes) if isinstance(one, Arrival) else one for one in checked]
        return pb.DeliverResponse(
            receipts=[self._receipt(one, outcome) for one, outcome in zip(checked, receipts, strict=True)],
            holder=self.node,
            sent_unix_us=request.sent_unix_us,
            answered_unix_us=self._clock.now().wall_us,
        )

    def refuse(self, request: pb.DeliverRequest, error: TercetError) -> pb.DeliverResponse:
        """Receipts that refuse all frames of a message, unopened."""
        self.refused += len(request.deliveries)
        return pb.DeliverResponse(
            receipts=[refused("", 0, error) for _ in request.deliveries],
            holder=self.node,
            sent_unix_us=request.sent_unix_us,
            answered_unix_us=self._clock.now().wall_us,
        )

    def _check(self, delivery: pb.Delivery, device: NodeId, now: CaptureStamp) -> Arrival | _Refusal:
        node, sequence = "", 0
        try:
            frame = Frame.open(delivery.frame)
            header = frame.header
            node, sequence = header.node, header.sequence
            self._check_header(header, device)
        except TercetError as error:
            return _Refusal(node, sequence, error)
        captured = now.earlier(delivery.age_ms, AgeSource.from_wire(delivery.age_source))
        return Arrival(device, sequence, delivery.frame, captured)

    def _check_header(self, header: frame_pb2.FrameHeader, device: NodeId) -> None:
        if header.delivery != frame_pb2.DELIVERY_CLASS_DURABLE or header.probe:
            raise ContractError("only frames of the durable class are delivered: ask for answers to others")
        if header.cascade:
            raise ContractError("frames of a cascade are realtime frames: durable ones have a model and a plan")
        if header.node != device:
            raise ContractError(f"a message of {device} may only hold its own frames")
        if not 0 < header.sequence < MAX_SEQUENCE:
            raise ContractError(f"sequence number {header.sequence} is not between 0 and 2^53")
        for tensor in header.tensors:
            if tensor.codec.startswith("delta:"):
                raise ContractError("a durable frame must not differ from another one: send it without delta")
        find_model(self._models, header.model, Tier.EDGE).plan_for(header, Tier.EDGE)

    def _receipt(self, one: Arrival | _Refusal, outcome: Taken | TercetError | _Refusal) -> pb.DeliveryReceipt:
        if isinstance(outcome, Taken):
            return pb.DeliveryReceipt(node=one.node, sequence=one.sequence, outcome=_OUTCOMES[outcome])
        error = outcome.error if isinstance(outcome, _Refusal) else outcome
        self.refused += 1
        level = logging.DEBUG if isinstance(error, OverloadedError) else logging.INFO
        log.log(level, "durable frame refused", extra={"device": one.node, "reason": str(error)})
        return refused(one.node, one.sequence, error)
