"""What a receipt of durable frames says of each of them, and the receipts that holders write. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from tercet.errors import TercetError, UnavailableError, WireFormatError
from tercet.limits import MAX_CALL_FRAMES, MAX_FRAME_BYTES
from tercet.v1 import delivery_pb2 as pb
from tercet.wire.messages import detail_from_error, error_from_detail

# A message may hold one frame of any size, or several that are small together.
MAX_MESSAGE_BYTES = MAX_FRAME_BYTES + 65536
_DONE = (pb.DELIVERY_OUTCOME_TAKEN, pb.DELIVERY_OUTCOME_DUPLICATE)


@dataclass(frozen=True)
class Judgement:
    """Of the frames of one message, by their place in it.

    `settled`: the next holder has them. `at_fault`: refused for what they are, with the reason. The rest is to be
    sent again; `unavailable` says why if the next holder did.
    """

    settled: tuple[int, ...] = ()
    at_fault: dict[int, TercetError] = field(default_factory=dict)
    unavailable: UnavailableError | None = None


def judge(names: Sequence[tuple[str, int]], response: pb.DeliverResponse) -> Judgement:
    """Read a receipt.

    Args:
        names: node and sequence of each frame of the message, in order.
    Raises:
        WireFormatError: it is no receipt for these frames.
    """
    if len(response.receipts) != len(names):
        raise WireFormatError(f"{len(response.receipts)} receipts came for {len(names)} durable frames")
    settled: list[int] = []
    at_fault: dict[int, TercetError] = {}
    unavailable: UnavailableError | None = None
    for place, (name, receipt) in enumerate(zip(names, response.receipts, strict=True)):
        if (receipt.node, receipt.sequence) == name and receipt.outcome in _DONE:
            settled.append(place)
        elif receipt.outcome == pb.DELIVERY_OUTCOME_REFUSED and _names(receipt, name):
            error = error_from_detail(receipt.error)
            if isinstance(error, UnavailableError):
                unavailable = unavailable or error
            else:
                at_fault[place] = error
        else:
            raise WireFormatError(f"a receipt for frame {name[1]} of {name[0]} is for another, or says nothing")
    return Judgement(tuple(settled), at_fault, unavailable)


def _names(receipt: pb.DeliveryReceipt, name: tuple[str, int]) -> bool:
    # Whoever could not even open the frame does not know its name.
    return (receipt.node, receipt.sequence) in (name, ("", 0))


def refused(node: str, sequence: int, error: BaseException) -> pb.DeliveryReceipt:
    """A receipt that says why a frame was not taken."""
    return pb.DeliveryReceipt(
        node=node, sequence=sequence, outcome=pb.DELIVERY_OUTCOME_REFUSED, error=detail_from_error(error)
    )


def parse_request(payload: bytes) -> pb.DeliverRequest:
    """Check what a peer sent before anything of it is opened; WireFormatError."""
    request = pb.DeliverRequest()
    if len(payload) > MAX_MESSAGE_BYTES:
        raise WireFormatError(f"a message of {len(payload)} bytes is larger than one with durable frames may be")
    try:
        request.ParseFromString(payload)
    except DecodeError as error:
        raise WireFormatError("not a message with durable frames") from error
    if len(request.deliveries) > MAX_CALL_FRAMES:
        raise WireFormatError(f"{len(request.deliveries)} durable frames in a message; {MAX_CALL_FRAMES} may be")
    return request


def parse_response(payload: bytes) -> pb.DeliverResponse:
    """A receipt as it came; WireFormatError."""
    response = pb.DeliverResponse()
    try:
        response.ParseFromString(payload)
    except DecodeError as error:
        raise WireFormatError("not a receipt for durable frames") from error
    return response
