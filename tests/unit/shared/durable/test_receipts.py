"""Receipts: what they say, and what is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.durable.receipts import Judgement, judge, parse_request, parse_response, refused
from tercet.errors import (
    ContractError,
    OverloadedError,
    TensorContractError,
    WireFormatError,
)
from tercet.limits import MAX_CALL_FRAMES
from tercet.v1 import delivery_pb2 as pb

TAKEN, DUPLICATE = pb.DELIVERY_OUTCOME_TAKEN, pb.DELIVERY_OUTCOME_DUPLICATE
NAMES = [("cam-1", 7), ("cam-1", 8), ("cam-2", 7)]


def receipt(name: tuple[str, int], outcome: pb.DeliveryOutcome) -> pb.DeliveryReceipt:
    return pb.DeliveryReceipt(node=name[0], sequence=name[1], outcome=outcome)


def response(*receipts: pb.DeliveryReceipt) -> pb.DeliverResponse:
    return pb.DeliverResponse(receipts=receipts, holder="edge-1")


def test_frames_that_are_held_or_were_already_are_settled() -> None:
    found = judge(NAMES, response(*(receipt(n, o) for n, o in zip(NAMES, [TAKEN, DUPLICATE, TAKEN], strict=True))))
    assert found == Judgement((0, 1, 2))


def test_a_refusal_is_the_frames_fault_or_it_is_to_wait() -> None:
    found = judge(
        NAMES,
        response(
            receipt(NAMES[0], TAKEN),
            refused(*NAMES[1], TensorContractError("wrong shape")),
            refused(*NAMES[2], OverloadedError("full", retry_after_s=3)),
        ),
    )
    assert found.settled == (0,)
    assert {place: type(error) for place, error in found.at_fault.items()} == {1: TensorContractError}
    assert isinstance(found.unavailable, OverloadedError)
    assert found.unavailable.retry_after_s == 3


def test_a_frame_that_could_not_be_opened_is_refused_without_a_name() -> None:
    found = judge(NAMES[:1], response(refused("", 0, WireFormatError("garbled"))))
    assert list(found.at_fault) == [0]


@pytest.mark.parametrize(
    "answer",
    [
        response(),
        response(receipt(NAMES[0], TAKEN)),
        response(*(receipt(name, TAKEN) for name in [NAMES[1], NAMES[0], NAMES[2]])),
        response(*(receipt(name, pb.DELIVERY_OUTCOME_UNSPECIFIED) for name in NAMES)),
        response(*(receipt(name, 9) for name in NAMES)),  # type: ignore[arg-type]
        response(receipt(NAMES[0], TAKEN), receipt(NAMES[1], TAKEN), refused("cam-9", 7, ContractError("no"))),
        response(*(receipt(("", 0), TAKEN) for _ in NAMES)),
    ],
    ids=["empty", "short", "in another order", "nothing said", "newer outcome", "another's", "nobody's"],
)
def test_what_is_no_receipt_for_these_frames_settles_nothing(answer: pb.DeliverResponse) -> None:
    with pytest.raises(WireFormatError):
        judge(NAMES, answer)


@given(st.binary(max_size=300))
def test_noise_is_refused_as_such_or_is_a_message_without_frames(noise: bytes) -> None:
    for parse in (parse_request, parse_response):
        with contextlib.suppress(WireFormatError):
            parse(noise)


def test_a_message_may_hold_so_many_frames_and_no_more() -> None:
    request = pb.DeliverRequest(deliveries=[pb.Delivery(frame=b"x")] * MAX_CALL_FRAMES)
    assert parse_request(request.SerializeToString()) == request
    request.deliveries.add(frame=b"x")
    with pytest.raises(WireFormatError, match=str(MAX_CALL_FRAMES)):
        parse_request(request.SerializeToString())
