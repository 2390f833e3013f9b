"""What is wrong with a document, in one line of plain words, and on which line of the file it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from tercet.printable import printable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]
_VALUE_SHOWN = 40
_PLAIN_WORDS = {
    "extra_forbidden": "unknown key",
    "model_type": "must be keys with values",
    "dict_type": "must be keys with values",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}
_SHOULD = "Input should "
_RAISED = "Value error, "
_MERGE = "<<"


def worst_problem(error: ValidationError, data: object) -> tuple[Place, str]:
    """Where in `data` the first problem is, and what it is in plain words, with how many more there are.

    Where a value may be one of several kinds, pydantic tells problems of every kind: the one that lies deepest is
    taken, as it belongs to the kind that was meant; so does one that a validator of ours found.
    """
    problems = error.errors(include_url=False)
    places = [_place(problem, data) for problem in problems]
    first = places[0]
    same = [i for i, place in enumerate(places) if place[: len(first)] == first]
    chosen = max(same, key=lambda i: (len(places[i]), problems[i]["type"] == "value_error", -i))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return places[chosen], _words(problems[chosen]) + more


def line_of(node: yaml.Node | None, place: Place) -> int | None:
    """The line, from 1, of what stands at `place` in a YAML file, or of what it is missing from."""
    if node is None:
        return None
    line: int = node.start_mark.line
    for part in place:
        if isinstance(node, yaml.MappingNode):
            # After a merge the file's own pairs come last.
            pair = next((pair for pair in reversed(node.value) if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1


def duplicate_key(root: yaml.Node | None) -> yaml.ScalarNode | None:
    """The first key that its mapping has twice, of which YAML would silently take the last."""
    seen, waiting = set[int](), [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = set[str]()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value != _MERGE:
                    if key.value in keys:
                        return key
                    keys.add(key.value)
        waiting.extend(reversed(list(_children(node))))
    return None


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _place(problem: ErrorDetails, data: object) -> Place:
    """The parts of a problem's location that are in the data; names of kinds that pydantic puts between are not."""
    place: list[str | int] = []
    for part in problem["loc"]:
        with suppress(LookupError):
            data = _inside(data, part)
            place.append(part)
    if problem["type"] == "missing":
        place.append(problem["loc"][-1])
    return tuple(place)


def _inside(data: object, part: str | int) -> object:
    """What a part of a location leads to; LookupError if it leads nowhere here."""
    if isinstance(data, dict):
        return data[part]
    if isinstance(data, list | tuple) and isinstance(part, int):
        return data[part]
    raise KeyError(part)


def _words(problem: ErrorDetails) -> str:
    text = problem["msg"].removeprefix(_RAISED)
    known = _PLAIN_WORDS.get(problem["type"])
    if known == "unknown key":
        return known
    if known is None and not text.startswith(_SHOULD):
        return text
    if problem["type"].endswith("_parsing"):
        text = text.partition(",")[0]  # After it: what pydantic was unable to do.
    words = known or "must " + text.removeprefix(_SHOULD)
    return f"{words}, not {_shown(problem['input'])}"


def _shown(value: Any) -> str:
    """A scalar as it was read; of anything larger only its kind, as its text may have no end."""
    if isinstance(value, dict):
        return "keys with values"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    try:
        return printable(repr(value), _VALUE_SHOWN)
    except ValueError:  # An integer of more digits than Python writes out.
        return "such a number"
