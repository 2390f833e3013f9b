"""What may be a name, on every way a name comes in."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from tercet.errors import SpecError
from tercet.identifiers import Name, NodeName, check_name

GOOD = ["a", "7", "cam-1", "a.b_c-d", "0" * 63, "a..b"]
BAD = ["", "-a", "a-", ".", "..", "A", "a b", "a/b", "+", "#", "$share", "a\n", "\na", "a\0", "é", "٣", "a" * 64]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name
    assert TypeAdapter(Name).validate_python(name) == name
    assert TypeAdapter(NodeName).validate_python(name) == name


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_refused_everywhere(name: str) -> None:
    with pytest.raises(SpecError, match=r"fleet .* is not allowed: use 1-63 of a-z") as caught:
        check_name(name, "fleet")
    assert str(caught.value).isprintable()
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)
    with pytest.raises((ValidationError, SpecError)):
        TypeAdapter(NodeName).validate_python(name)
