"""Keys of results that were given up, kept as ranges so that a late repeat is still known for one.

A device counts its frames, so what has expired of it is a few long ranges and not a key a frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class KeyRange(NamedTuple):
    """Sequences `first` to `last` of a node, both included."""

    node: str
    first: int
    last: int


def merged(ranges: Iterable[KeyRange]) -> list[KeyRange]:
    """The same keys in as few ranges as possible, in order. Ranges may overlap."""
    result: list[KeyRange] = []
    for one in sorted(ranges):
        before = result[-1] if result else None
        if before is not None and before.node == one.node and one.first <= before.last + 1:
            result[-1] = before._replace(last=max(before.last, one.last))
        else:
            result.append(one)
    return result
