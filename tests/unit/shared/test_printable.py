"""Whatever goes in, one printable line comes out, and printable text is left as it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tercet.printable import printable

anything = st.text(st.characters(exclude_categories=()))


@given(anything)
def test_the_result_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


@given(anything)
def test_printable_text_is_left_as_it_is(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) == text


@given(anything, st.integers(1, 20))
def test_no_more_than_the_limit_comes_out_and_a_cut_is_visible(text: str, limit: int) -> None:
    short = printable(text, limit)
    assert len(short) <= limit
    assert short == printable(text) or short.endswith("…")


def test_what_is_invisible_is_spelled_out() -> None:
    assert printable("a\n\t\x1b[1m\u2028\ud800é☕") == "a\\n\\t\\x1b[1m\\u2028\\ud800é☕"
