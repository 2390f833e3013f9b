"""Whatever a stranger writes stays text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet_cloud.drawing.markup import Markup, clip, element, short


@given(st.text())
def test_any_text_is_well_formed_as_content_and_as_attribute(words: str) -> None:
    parsed = ElementTree.fromstring(element("g", words, id=words))
    assert not list(parsed)
    assert len(parsed.text or "") == len(words)


def test_only_markup_becomes_an_element() -> None:
    inner = element("b", "<i>")
    assert element("g", inner, "<i>") == "<g><b>&lt;i&gt;</b>&lt;i&gt;</g>"
    assert isinstance(inner, Markup)


def test_a_quote_does_not_end_an_attribute() -> None:
    assert ElementTree.fromstring(element("g", id="\" onload='x'")).attrib == {"id": "\" onload='x'"}


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\u202e", "\u2066", "\ufeff", "\ud800", "\ue000"])
def test_characters_that_are_forbidden_or_turn_the_reading_are_replaced(character: str) -> None:
    assert element("g", f"a{character}b") == "<g>a\N{REPLACEMENT CHARACTER}b</g>"


@given(st.text(max_size=40), st.integers(1, 30))
def test_a_clipped_name_keeps_its_end_and_is_no_longer_than_asked(name: str, length: int) -> None:
    clipped = clip(name, length)
    assert len(clipped) <= length
    assert clipped == name or ("…" in clipped and name.endswith(clipped.rpartition("…")[2]))


@pytest.mark.parametrize(("number", "written"), [(1, "1"), (-0.04, "0"), (2.26, "2.3"), (1e6, "1000000")])
def test_pixels_are_short(number: float, written: str) -> None:
    assert short(number) == written
