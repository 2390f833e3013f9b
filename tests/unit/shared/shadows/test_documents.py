"""What crosses the wire: bounded, checked, and refused in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import FrameTooLargeError, WireFormatError
from tercet.identifiers import ModelRef
from tercet.plans import Deployment, Plan
from tercet.shadows.documents import (
    MAX_SHADOW_BYTES,
    MAX_VERSION,
    Desired,
    Reported,
    open_shadow,
    seal_shadow,
    shorten,
)
from tercet.tiers import Tier

PLAN = {"id": "raw", "device_until": 1, "edge_until": 2}
GOOD = {"format": 1, "version": 3, "deployments": [{"model": "tiny@0123456789ab", "plans": [PLAN]}]}


def test_both_documents_come_back_as_they_were() -> None:
    desired = Desired.model_validate(GOOD)
    assert open_shadow(Desired, seal_shadow(desired), "x") == desired
    reported = Reported(tier=Tier.EDGE, version=3, status="refused", reason="why", running=2)
    assert open_shadow(Reported, seal_shadow(reported), "x") == reported


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"version": 0},
        {"version": -1},
        {"version": MAX_VERSION + 1},
        {"version": 1.5},
        {"version": "three"},
        {"version": None},
        {"deployments": []},
        {"deployments": [{"model": "tiny@0123456789ab", "plans": []}]},
        {"deployments": [{"model": "tiny@0123456789ab", "plans": [{**PLAN, "device_until": 3}]}]},
        {"deployments": [{"model": "tiny@0123456789ab", "plans": [PLAN], "extra": 1}]},
        {"deployments": GOOD["deployments"] * 65},  # type: ignore[operator]
        {"more": True},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(change: dict[str, object]) -> None:
    with pytest.raises(WireFormatError) as refused:
        open_shadow(Desired, json.dumps({**GOOD, **change}).encode(), "what came")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("what came")


@pytest.mark.parametrize(
    "payload",
    [None, "text", b"", b"\xff\xfe", b"null", b"[]", b"{", b"[" * 100_000, b'{"version": 1e999}', bytes(100)],
    ids=lambda payload: repr(payload)[:20],
)
def test_garbage_is_refused(payload: object) -> None:
    for kind in (Desired, Reported):
        with pytest.raises(WireFormatError):
            open_shadow(kind, payload, "what came")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_a_document(payload: bytes) -> None:
    try:
        open_shadow(Desired, payload, "what came")
    except WireFormatError:
        return


def test_too_much_is_refused_before_it_is_read_and_before_it_is_sent() -> None:
    with pytest.raises(WireFormatError, match="over"):
        open_shadow(Desired, b" " * (MAX_SHADOW_BYTES + 1), "what came")
    plans = tuple(Plan(id=f"p{number}-{'x' * 50}", device_until=1, edge_until=2) for number in range(15_000))
    huge = Desired(version=1, deployments=(Deployment(model=ModelRef("tiny@0123456789ab"), plans=plans),))
    with pytest.raises(FrameTooLargeError, match="fewer plans"):
        seal_shadow(huge)


def test_a_reason_however_long_fits_into_a_report() -> None:
    Reported(tier=Tier.DEVICE, reason=shorten("\x1b[2J" + "x" * 100_000))


def test_two_digests_differ_where_the_content_does() -> None:
    one = Desired.model_validate(GOOD)
    other = Desired.model_validate({**GOOD, "deployments": [{"model": "other@0123456789ab", "plans": [PLAN]}]})
    assert one.digest == Desired.model_validate(json.loads(json.dumps(GOOD))).digest
    assert one.digest != other.digest
