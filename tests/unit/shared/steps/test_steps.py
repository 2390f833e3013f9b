"""Types fit or say why not; references lead into values; conditions are never code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tercet.errors import InputError, SpecError
from tercet.steps.conditions import parse_condition
from tercet.steps.functions import annotation_type, load_function, signature_of
from tercet.steps.lists import filter_items, join, map_items
from tercet.steps.references import Reference, parse_reference, type_at, value_at
from tercet.steps.value_types import misfit, parse_type, value_misfit


@pytest.mark.parametrize(
    "text",
    [
        "any",
        "image",
        "list[image]",
        "tensor[float32, 1, 3, _, _]",
        "tensor[int64]",
        '{boxes: list[tensor], "a/b.1": number}',
        "list[list[{x: text}]]",
    ],
)
def test_a_type_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_type(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "picture", "list[", "list[image]]", "tensor[float99]", "tensor[float32, x]", "{a: text, a: text}", "a b"],
)
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"^type "):
        parse_type(text)


def test_a_type_nested_without_end_is_refused() -> None:
    with pytest.raises(SpecError, match="nested too deeply"):
        parse_type("list[" * 1000)


@pytest.mark.parametrize(
    ("given", "wanted", "reason"),
    [
        ("any", "image", None),
        ("image", "tensor", None),
        ("tensor[uint8, 5, 6, 3]", "image", None),
        ("tensor[uint8, 5, 6, 4]", "image", "tensor[uint8, 5, 6, 4] where image is wanted"),
        ("tensor[float32, 1, 3]", "tensor[float32, 1, 3, _]", "where tensor[float32, 1, 3, _] is wanted"),
        ("list[image]", "list[text]", "in its items: image where text is wanted"),
        ("{a: text}", "{a: number}", "a: text where number is wanted"),
        ("{a: text}", "{b: text}", "key b is missing"),
        ("mapping", "{b: text}", None),
        ("bytes", "text", "bytes where text is wanted"),
    ],
)
def test_types_fit_or_say_why_not(given: str, wanted: str, reason: str | None) -> None:
    found = misfit(parse_type(given), parse_type(wanted))
    assert (found is None) == (reason is None)
    assert reason is None or reason in (found or "")


@pytest.mark.parametrize(
    ("value", "wanted", "fits"),
    [
        (np.zeros((4, 5, 3), np.uint8), "image", True),
        (np.zeros((4, 5), np.uint8), "image", False),
        ([1, 2.5], "list[number]", True),
        ([1, "x"], "list[number]", False),
        (True, "number", False),
        (np.float32(1), "number", True),
        ({"a": "x"}, "{a: text}", True),
        ({}, "{a: text}", False),
        (None, "text", False),
        (b"x", "bytes", True),
    ],
)
def test_values_are_of_a_type_or_say_why_not(value: Any, wanted: str, fits: bool) -> None:
    assert (value_misfit(value, parse_type(wanted)) is None) == fits


@dataclass
class Box:
    x: int


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("detect", Reference("detect")),
        ("input.photo", Reference(None, ("photo",))),
        ("a.b[3].c", Reference("a", ("b", 3, "c"))),
        ('a["x/y.1"]?', Reference("a", ("x/y.1",), optional=True)),
    ],
)
def test_a_reference_is_written_as_it_is_read(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize("text", ["", "input", "input[0]", "a b", "a.", "a[x]", "1a", "a??"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_reference(text)


def test_a_path_leads_into_mappings_lists_and_dataclasses_and_nowhere_else() -> None:
    value = {"boxes": [Box(1), Box(2)]}
    assert value_at(value, ("boxes", 1, "x")) == 2
    for path in (("lines",), ("boxes", 5), ("boxes", 0, "y"), ("boxes", 0, "__class__"), ("boxes", "append")):
        with pytest.raises(InputError, match="has no"):
            value_at(value, path)
    assert str(type_at(parse_type("{boxes: list[{x: number}]}"), ("boxes", 0, "x"))) == "number"
    with pytest.raises(SpecError, match="there is no key y"):
        type_at(parse_type("{x: number}"), ("y",))


VALUES = {"n": {"score": 0.7, "boxes": [1, 2], "name": "x-1", "none": None, "array": np.zeros((0, 4))}, "m": "text"}


def holds(text: str) -> bool:
    return parse_condition(text).holds(lambda ref: value_at(VALUES[ref.node or ""], ref.path))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("n.score > 0.5", True),
        ("n.score > 0.5 and len(n.boxes) >= 3", False),
        ("n.score < 0.5 or n.name == 'x-1'", True),
        ("not n.boxes", False),
        ("not (n.score > 1 or n.score < 0)", True),
        ('n.name in ["x-1", "y"]', True),
        ("n.name not in ['y']", True),
        ("n.none == null", True),
        ("n.array", False),
        ("len(n.array) == 0", True),
        ("true and not false", True),
        ("-1 < n.boxes[0] and n.boxes[1] == 2.0", True),
        ("n.score > 0.5 and n.score < 0.6 or true", True),
    ],
)
def test_conditions_hold_as_they_read(text: str, wanted: bool) -> None:
    assert holds(text) is wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n.score >",
        "n.score = 1",
        "n.score > 1 2",
        "__import__('os')",
        "n.score.real()",
        "n; m",
        "lambda: 1",
        "n.score if true else 1",
        "[1, 2",
        "(" * 100 + "1" + ")" * 100,
        "'a' + 'b'",
        "1" * 2000,
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="condition"):
        parse_condition(text)


def test_values_that_cannot_be_compared_are_an_error_and_not_false() -> None:
    for text in ("n.name > 1", "len(n.score) > 1", "n.name in 5", "n.lost == 1"):
        with pytest.raises(InputError):
            holds(text)


def test_a_condition_names_what_it_reads() -> None:
    found = parse_condition("len(a.b) > 1 and (input.x == 1 or c in [d, 2])").references()
    assert [str(reference) for reference in found] == ["a.b", "input.x", "c", "d"]


def test_a_filter_keeps_what_its_condition_holds_for() -> None:
    items = [{"score": 0.1}, {"score": 0.9}]
    assert filter_items(items, "item.score > 0.5") == [items[1]]
    with pytest.raises(SpecError, match="only at `item`"):
        filter_items(items, "other.score > 0.5")


def test_map_and_join_put_lists_together() -> None:
    assert map_items([-1, 2], "builtins:abs") == [1, 2]
    assert join(a=1, b=[2]) == {"a": 1, "b": [2]}
    assert join(separator=" ", a="x", b=["y", ["z"]]) == "x y z"
    with pytest.raises(InputError, match="not number"):
        join(separator=" ", a=1)


def test_annotations_say_types() -> None:
    assert str(annotation_type(list[str])) == "list[text]"
    assert str(annotation_type(str | None)) == "text"
    assert str(annotation_type(np.ndarray[Any, np.dtype[np.float32]])) == "tensor[float32]"
    assert str(annotation_type(Box)) == "any"


def test_a_function_is_found_by_its_path_or_the_missing_part_is_named() -> None:
    assert load_function("os.path:join")("a", "b") == "a/b"
    for path, words in (
        ("lost.module:f", "cannot import"),
        ("os:lost", "has no lost"),
        ("os:sep", "not a function"),
    ):
        with pytest.raises(SpecError, match=words):
            load_function(path)
    assert signature_of("tercet.steps.lists:join").takes_more
