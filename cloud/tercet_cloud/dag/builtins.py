"""The built-in nodes by name: each is a function of `tercet.steps`, so that any tier can run it.

A built-in is a callable with a short name: `needs` and `options` are its arguments, its annotations are its types.
Functions on pictures lie in `tercet.steps.images`, those on lists and parts in `tercet.steps.lists`.

    decode   data: bytes                             → image
    resize   image, options                          → image
    crop     image, boxes, options                   → list[image]
    filter   items: list, where: a condition on item → list
    map      items: list, call: module:function, …   → list, all in one step
    join     separator: text or none, parts by name  → text, or a mapping
"""

from __future__ import annotations

from collections.abc import Mapping

BUILTINS: Mapping[str, str] = {
    "decode": "tercet.steps.images:decode",
    "resize": "tercet.steps.images:resize",
    "crop": "tercet.steps.images:crop",
    "filter": "tercet.steps.lists:filter_items",
    "map": "tercet.steps.lists:map_items",
    "join": "tercet.steps.lists:join",
}
