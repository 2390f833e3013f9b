"""References to values of a run: `input.photo`, `detect`, `detect.boxes`, `detect.boxes[0]`, `crop?`.

The first part names an input of the pipeline or a node; what follows goes into the value: a key of a mapping, a
field of a dataclass, an index of a list. A key that is no plain word stands in quotes: `detect["fetch/x.1"]`. A
`?` at the end makes the reference optional: if that node was skipped, the argument is left out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tercet.errors import InputError, SpecError
from tercet.printable import printable
from tercet.steps.value_types import ANY, ListType, MappingType, ValueType, type_words

INPUT = "input"
Part = str | int
_SHOWN = 80
_WORD = r"[A-Za-z_][A-Za-z0-9_-]*"
_HEAD = re.compile(_WORD)
_PART = re.compile(rf'\.({_WORD})|\[(\d{{1,9}})\]|\["([^"\\]*)"\]')


@dataclass(frozen=True)
class Reference:
    """Where a value comes from.

    Attributes:
        node: the node that gives it; None for an input of the pipeline, whose name is then the first of `path`.
        path: keys and indices that lead into the node's result.
        optional: may be missing if the node was skipped.
    """

    node: str | None
    path: tuple[Part, ...] = ()
    optional: bool = False

    def __str__(self) -> str:
        parts = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" if re.fullmatch(_WORD, part) else f'["{part}"]'
            for part in self.path
        )
        return f"{self.node or INPUT}{parts}{'?' if self.optional else ''}"

    @property
    def inside(self) -> tuple[Part, ...]:
        """The way into the value it starts from: a node's result, or an input."""
        return self.path if self.node is not None else self.path[1:]

    @property
    def input(self) -> str | None:
        """The pipeline's input it starts from; None if a node gives it."""
        return None if self.node is not None else str(self.path[0])


@lru_cache(maxsize=65536)
def parse_reference(text: str) -> Reference:
    """SpecError for what is not a reference."""
    reference, end = reference_at(text, 0)
    optional = text[end:] == "?"
    if end != len(text) and not optional:
        raise SpecError(f"{printable(text, _SHOWN)!r} is not input.NAME, NODE or NODE.KEY")
    return Reference(reference.node, reference.path, optional)


def reference_at(text: str, start: int) -> tuple[Reference, int]:
    """The reference that begins at `start`, without `?`, and where it ends."""
    head = _HEAD.match(text, start)
    if head is None:
        raise SpecError(f"{printable(text, _SHOWN)!r} is not input.NAME, NODE or NODE.KEY")
    end, path = head.end(), list[Part]()
    while part := _PART.match(text, end):
        word, index, quoted = part.groups()
        path.append(int(index) if index is not None else word if word is not None else quoted)
        end = part.end()
    if head[0] != INPUT:
        return Reference(head[0], tuple(path)), end
    if not path or not isinstance(path[0], str):
        raise SpecError(f"{printable(text, _SHOWN)!r}: say which input, as input.NAME")
    return Reference(None, tuple(path)), end


def value_at(value: object, path: Sequence[Part]) -> object:
    """What `path` leads to inside a value; InputError if it leads nowhere."""
    for part in path:
        try:
            value = _inside(value, part)
        except LookupError as error:
            raise InputError(
                f"{type_words(value)} has no {printable(str(part), _SHOWN)!r}{_known(value)}"
            ) from error
    return value


def type_at(kind: ValueType, path: Sequence[Part]) -> ValueType:
    """The type of what `path` leads to; SpecError if values of this type never have it."""
    for part in path:
        if isinstance(kind, MappingType):
            if kind.fields is None:
                return ANY
            inner = kind.field(str(part))
            if inner is None:
                known = ", ".join(name for name, _ in kind.fields) or "none"
                raise SpecError(f"there is no key {printable(str(part), _SHOWN)} (there: {known})")
            kind = inner
        elif isinstance(kind, ListType) and isinstance(part, int):
            kind = kind.item
        elif kind == ANY:
            return ANY
        else:
            raise SpecError(f"{kind} has no {printable(str(part), _SHOWN)!r}")
    return kind


def _inside(value: object, part: Part) -> object:
    if isinstance(value, Mapping):
        return value[part]
    if isinstance(part, int):
        if isinstance(value, list | tuple):
            return value[part]
    elif dataclasses.is_dataclass(value) and part in {field.name for field in dataclasses.fields(value)}:
        return getattr(value, part)
    raise KeyError(part)


def _known(value: object) -> str:
    if isinstance(value, Mapping):
        keys = ", ".join(map(str, list(value)[:8]))
        return f" (there: {printable(keys, _SHOWN)})"
    return f" (it has {len(value)} items)" if isinstance(value, list | tuple) else ""
