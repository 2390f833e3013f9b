"""Built-in steps on lists and parts: keep some items, apply a function to each, put parts together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tercet.errors import InputError, SpecError
from tercet.steps.conditions import Lookup, parse_condition
from tercet.steps.functions import load_function
from tercet.steps.references import value_at
from tercet.steps.value_types import type_words

_ITEM = "item"


def filter_items(items: list[Any], where: str) -> list[Any]:
    """Those items for which a condition on `item` holds, in order: `where: item.score > 0.5`."""
    condition = parse_condition(where)
    if other := next((ref for ref in condition.references() if ref.node != _ITEM), None):
        raise SpecError(f"condition {where!r}: a filter looks only at `item`, not at {other}")

    return [item for item in items if condition.holds(_inside(item))]


def map_items(items: list[Any], call: str, **options: Any) -> list[Any]:
    """`call(item, **options)` for every item, in order, all in one step.

    For small items; a node's `map` runs every item as a call of its own, in parallel.
    """
    function = load_function(call)
    return [function(item, **options) for item in items]


def join(separator: str | None = None, **parts: Any) -> Any:
    """Parts put together: with a separator one text, of texts and lists of texts; else a mapping by name."""
    if separator is None:
        return parts
    return separator.join(_texts(parts.values()))


def _inside(item: Any) -> Lookup:
    return lambda reference: value_at(item, reference.path)


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)
        else:
            raise InputError(f"join with a separator takes texts and lists of them, not {type_words(value)}")
