"""Values cross between tiers as they are, and bytes that are no message are refused whatever they claim."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import LinkDownError, NotFoundError, TensorContractError, TercetError, WireFormatError
from tercet.steps.step_host import StepHost
from tercet.steps.step_message import (
    REQUEST_MAGIC,
    StepFailedError,
    StepRequest,
    open_event,
    open_result,
    seal_event,
    seal_failure,
    seal_result,
)
from tercet.wire.sealing import seal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_crosses_as_it_is(value: Any) -> None:
    assert open_result(seal_result(value)) == value


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool"])
def test_arrays_cross_with_dtype_and_shape_also_empty_and_scattered_ones(dtype: str) -> None:
    whole = np.arange(24).reshape(4, 6).astype(dtype)
    for array in (whole, whole[:, ::2], whole[:0], np.asarray(whole[0, 0])):
        found = open_result(seal_result({"a": [array]}))["a"][0]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found, array)
        assert found.flags.writeable


@pytest.mark.parametrize("value", [object(), {1: 2}, np.array(["x"]), {"a": {2}}])
def test_what_is_no_data_does_not_cross(value: Any) -> None:
    with pytest.raises(TensorContractError):
        seal_result(value)


def test_a_value_nested_without_end_does_not_cross() -> None:
    value: Any = []
    for _ in range(1000):
        value = [value]
    with pytest.raises(TensorContractError, match="nested too deeply"):
        seal_result(value)


def test_a_request_and_an_event_cross_as_they_are() -> None:
    request = StepRequest("call", "m:f", {"x": [1, b"y"]}, {"attempt": 2})
    assert StepRequest.open(request.seal()) == request
    assert open_event(seal_event("mic-1/speech", {"level": 0.5})) == ("mic-1/speech", {"level": 0.5})
    with pytest.raises(WireFormatError, match="a key of 1 to"):
        open_event(seal_event("", 1))


def test_failures_cross_as_what_they_were() -> None:
    with pytest.raises(NotFoundError, match="no such thing"):
        open_result(seal_failure(NotFoundError("no such thing")))
    with pytest.raises(LinkDownError):
        open_result(seal_failure(LinkDownError("away")))
    with pytest.raises(StepFailedError, match="ValueError: bad"):
        open_result(seal_failure(ValueError("bad")))


def sealed(header: Any, *payloads: bytes) -> bytes:
    return seal(REQUEST_MAGIC, json.dumps(header).encode(), payloads)


GOOD = {"kind": "call", "target": "m:f", "arguments": {"map": []}, "context": {"map": []}, "sizes": []}


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {**GOOD, "sizes": [5]},
        {**GOOD, "sizes": [-1]},
        {**GOOD, "sizes": "x"},
        {**GOOD, "kind": 5},
        {**GOOD, "arguments": {"list": []}},
        {**GOOD, "arguments": {"map": [["a"]]}},
        {**GOOD, "arguments": {"map": [["a", {"bytes": 3}]]}},
        {**GOOD, "arguments": {"map": [["a", {"array": ["float32", [2**40], 0]}]]}},
        {**GOOD, "arguments": {"map": [["a", {"array": ["object", [1], 0]}]]}},
        {**GOOD, "arguments": {"map": [["a", {"code": "x"}]]}},
        {**GOOD, "arguments": {"map": [], "list": []}},
    ],
)
def test_a_header_that_claims_what_is_not_there_is_refused(header: Any) -> None:
    with pytest.raises(WireFormatError):
        StepRequest.open(sealed(header))


@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_garbled_bytes_are_refused(junk: bytes, at: int) -> None:
    good = StepRequest("call", "m:f", {"x": np.zeros(5), "y": "text"}).seal()
    place = at % len(good)
    for bad in (junk, good[:place], good[:place] + junk + good[place + len(junk) :]):
        with contextlib.suppress(TercetError):
            assert StepRequest.open(bad).kind == "call"


def test_a_host_runs_nothing_that_was_not_allowed(tmp_path: Any) -> None:
    from tercet.models.store import Store

    host = StepHost(Store(tmp_path), ["tests.allowed:*", "builtins:abs"])
    assert host.run(StepRequest("builtin", "tercet.steps.lists:join", {"a": 1})) == {"a": 1}
    for kind, target in (("call", "os:getpid"), ("builtin", "os:getpid"), ("shell", "builtins:abs"), ("call", "x")):
        with pytest.raises(TercetError, match=r"may not run here|is no built-in"):
            host.run(StepRequest(kind, target, {}))
    with pytest.raises(NotFoundError, match="not in this node's store"):
        host.run(StepRequest("model", "lost", {}))
