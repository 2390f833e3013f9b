"""The error tree is what its docstring draws, and every class has its codes."""

from __future__ import annotations

import inspect
import re

import pytest

from tercet import errors
from tercet.error_codes import CODES, codes_of
from tercet.errors import TercetError, UnavailableError
from tercet.wire.messages import detail_from_error, error_from_detail

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__]
GRPC_STATUSES = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
}


def drawn_tree() -> dict[str, str | None]:
    """Each class of the docstring's drawing with the class it hangs from."""
    parents: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^([│├└─ ]*)([A-Z]\w*Error)\b", line):
            depth, name = len(match[1]), match[2]
            above = [(other, parent) for other, parent in above if other < depth]
            parents[name] = above[-1][1] if above else None
            above.append((depth, name))
    return parents


def test_the_drawing_in_the_docstring_is_the_class_tree() -> None:
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}
    assert drawn_tree() == {**real, "TercetError": None}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_has_an_entry_of_its_own_with_codes_that_exist(kind: type[TercetError]) -> None:
    codes = CODES[kind]
    assert 64 <= codes.exit_status <= 78  # sysexits.h
    assert codes.grpc in GRPC_STATUSES
    assert 400 <= codes.http < 600
    assert 0x80 <= codes.mqtt <= 0xA2  # MQTT 5 failures


def test_the_table_has_no_entry_for_anything_else() -> None:
    assert set(CODES) == set(CLASSES)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, UnavailableError)])
def test_what_is_worth_retrying_never_maps_to_a_code_that_says_give_up(kind: type[TercetError]) -> None:
    assert CODES[kind].grpc in {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert CODES[kind].http in {429, 503, 504}


def test_a_class_defined_elsewhere_takes_the_codes_of_its_nearest_ancestor() -> None:
    class Flooded(errors.OverloadedError):
        """An overload somebody else names."""

    assert codes_of(Flooded("full")) == CODES[errors.OverloadedError]


def test_a_foreign_error_is_our_bug() -> None:
    assert codes_of(KeyError("x")) == CODES[errors.InvariantError]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_crosses_the_wire_as_itself(kind: type[TercetError]) -> None:
    arrived = error_from_detail(detail_from_error(kind("what to do next")))
    assert type(arrived) is kind
    assert str(arrived) == "what to do next"
