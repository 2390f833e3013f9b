"""The grammar of codec specifications and its one canonical spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.codecs import CALIBRATIONS, EXACT, LOSSY, ONE_RANGE
from tercet.codecs import codec_names, parse_codec, parse_spec
from tercet.codecs.spec import format_decimal, parse_decimal
from tercet.errors import NotFoundError, SpecError


@pytest.mark.parametrize("spec", [*EXACT, *LOSSY])
def test_a_canonical_specification_is_its_own_spelling(spec: str) -> None:
    assert str(parse_spec(spec)) == spec
    codec = parse_codec(spec, CALIBRATIONS)
    assert codec.spec == spec
    assert parse_codec(codec.spec, CALIBRATIONS) == codec


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("int8:channel", "int8"),
        ("int8:affine:channel", "int8"),
        ("int4:sym:tensor", "int4:tensor:sym"),
        ("int4:static@0123456789ab:sym", "int4:sym:static@0123456789ab"),
        ("int8+zstd:1", "int8+zstd"),
        ("int8+zstd:1:shuffle", "int8+zstd:shuffle"),
        ("top10.0%+int8", "top10%+int8"),
        ("top02.50%+int8", "top2.5%+int8"),
        ("thr0.050+int8+zstd:3", "thr0.05+int8+zstd:3"),
    ],
)
def test_other_spellings_become_the_canonical_one(written: str, canonical: str) -> None:
    assert str(parse_spec(written)) == canonical


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("zip", "'zip' is unknown here; known are raw, fp16, int8"),
        ("int8+zip", "'zip' is unknown"),
        ("", "'' is not a stage"),
        ("int8+", "'' is not a stage"),
        ("Int8", "'Int8' is not a stage"),
        ("int8 ", "'int8 ' is not a stage"),
        ("int8:", "'int8:' is not a stage"),
        ("raw:1", "raw takes no arguments"),
        ("int9", "'int9' is unknown"),
        ("int8:row", "'row' is not allowed here; known are channel"),
        ("int8:sym:affine", "'affine' is not allowed"),
        ("int8:static", "'static' is not allowed"),
        ("int8:static@0123", "named by 12 lower-case hex digits"),
        ("int8:static@0123456789AB", "named by 12 lower-case hex digits"),
        ("int8:tensor:static@0123456789ab", "leave channel or tensor out"),
        ("int8+raw", "'raw' may not stand after 'int8'"),
        ("int8+top10%", "'top10%' may not stand after 'int8'"),
        ("zstd+int8", "'int8' may not stand after 'zstd'"),
        ("top10%+thr1+int8", "'thr1' may not stand after 'top10%'"),
        ("zstd", "no number format"),
        ("top10%", "no number format"),
        ("top0%+raw", "above 0 and up to 100"),
        ("top101%+raw", "above 0 and up to 100"),
        ("top10+raw", "above 0 and up to 100"),
        ("top1.2.3%+raw", "above 0 and up to 100"),
        ("thr0+raw", "a plain number above 0"),
        ("thr.5+raw", "a plain number above 0"),
        ("int8+zstd:0", "a level of 1 to 22"),
        ("int8+zstd:23", "a level of 1 to 22"),
        ("int8+zstd:shuffle:3", "a level of 1 to 22"),
        ("int8+zstd:shuffle:bitshuffle", "a level of 1 to 22"),
        ("int8+" * 100 + "int8", "256 is the most"),
    ],
)
def test_what_is_wrong_is_named(spec: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        parse_spec(spec)


def test_codec_names_are_codecs_by_themselves() -> None:
    assert codec_names()[:3] == ("raw", "fp16", "int8")
    for name in codec_names():
        assert parse_codec(name).spec == name


def test_a_static_codec_needs_its_calibration_only_when_it_is_built() -> None:
    spec = f"int8:static@{ONE_RANGE.digest}"
    assert str(parse_spec(spec)) == spec
    with pytest.raises(SpecError, match="no calibrations here"):
        parse_codec(spec)
    with pytest.raises(NotFoundError, match="0123456789ab is not known here"):
        parse_codec("int8:static@0123456789ab", CALIBRATIONS)


@given(st.text(max_size=40))
def test_any_text_is_a_codec_or_a_specification_error(text: str) -> None:
    try:
        spec = parse_spec(text)
    except SpecError:
        return
    assert parse_spec(str(spec)) == spec


@given(st.sampled_from([*EXACT, *LOSSY]), st.sampled_from([*EXACT, *LOSSY]), st.integers(0, 40), st.integers(0, 40))
def test_spliced_specifications_are_codecs_or_errors(first: str, second: str, cut: int, start: int) -> None:
    try:
        spec = parse_spec(first[:cut] + second[start:])
    except SpecError:
        return
    assert str(parse_spec(str(spec))) == str(spec)


@given(st.decimals(0, 999999, places=6))
def test_decimals_come_back_as_they_were_written(number: object) -> None:
    value = parse_decimal(f"{number:f}")
    assert value is not None
    assert parse_decimal(format_decimal(value)) == value
