"""Types of the values that pass between steps, and whether one fits where another is wanted.

The grammar, as written in pipelines and in annotations (`Annotated[np.ndarray, "image"]`):

    any  bytes  text  number  truth  mapping  tensor  image
    list[TYPE]                      e.g. list[image]
    tensor[DTYPE, SIZE, …]          e.g. tensor[float32, 1, 3, _, _]; `_` is any size, `tensor[float32]` any shape
    {NAME: TYPE, …}                 a mapping with at least these keys, e.g. {boxes: list[tensor], scores: tensor}

`image` is `tensor[uint8, _, _, 3]`: rows × columns × RGB. A type is checked when a pipeline is read, where both
ends say theirs, and again on every value that a step returns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tercet.errors import SpecError
from tercet.printable import printable

DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool")
_SHOWN = 60
_MAX_DEPTH = 16
_TOKEN = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*|\d+|"[^"\\]*"|[\[\]{},:])')


@dataclass(frozen=True)
class ValueType:
    """Base of the types; `any` itself.

    `str(type)` is its text in the grammar.
    """

    def __str__(self) -> str:
        return "any"


@dataclass(frozen=True)
class Scalar(ValueType):
    """bytes, text, number or truth."""

    kind: str

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class ListType(ValueType):
    item: ValueType

    def __str__(self) -> str:
        return f"list[{self.item}]" if self.item != ANY else "list"


@dataclass(frozen=True)
class TensorType(ValueType):
    """A numpy array. None: any dtype, any shape, any size of an axis."""

    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None

    def __str__(self) -> str:
        if self == IMAGE:
            return "image"
        if self.dtype is None:
            return "tensor"
        sizes = ["_" if size is None else str(size) for size in self.shape or ()]
        return f"tensor[{', '.join([self.dtype, *sizes])}]"


@dataclass(frozen=True)
class MappingType(ValueType):
    """A mapping with at least these keys; None: with any."""

    fields: tuple[tuple[str, ValueType], ...] | None = None

    def __str__(self) -> str:
        if self.fields is None:
            return "mapping"
        return "{" + ", ".join(f"{_key(name)}: {kind}" for name, kind in self.fields) + "}"

    def field(self, name: str) -> ValueType | None:
        return dict(self.fields or ()).get(name)


ANY = ValueType()
BYTES, TEXT, NUMBER, TRUTH = Scalar("bytes"), Scalar("text"), Scalar("number"), Scalar("truth")
IMAGE = TensorType("uint8", (None, None, 3))
_PLAIN: Mapping[str, ValueType] = {
    "any": ANY,
    "bytes": BYTES,
    "text": TEXT,
    "number": NUMBER,
    "truth": TRUTH,
    "mapping": MappingType(),
    "tensor": TensorType(),
    "image": IMAGE,
    "list": ListType(ANY),
}


@lru_cache(maxsize=4096)
def parse_type(text: str) -> ValueType:
    """SpecError for what is not a type."""
    parser = _Parser(text)
    kind = parser.type(0)
    parser.end()
    return kind


def misfit(given: ValueType, wanted: ValueType) -> str | None:
    """Why values of one type do not fit where another is wanted; None if they may fit.

    Where one side leaves something open (`any`, a size `_`), that is no misfit: values are checked when they are
    there.
    """
    if ANY in (given, wanted):
        return None
    if isinstance(given, TensorType) and isinstance(wanted, TensorType):
        return _tensor_misfit(given, wanted)
    if isinstance(given, ListType) and isinstance(wanted, ListType):
        inner = misfit(given.item, wanted.item)
        return inner and f"in its items: {inner}"
    if isinstance(given, MappingType) and isinstance(wanted, MappingType):
        return _mapping_misfit(given, wanted)
    return None if given == wanted else f"{given} where {wanted} is wanted"


def value_misfit(value: object, wanted: ValueType) -> str | None:
    """Why a value is not of a type; None if it is."""
    if wanted == ANY:
        return None
    if isinstance(wanted, ListType):
        if not isinstance(value, list | tuple):
            return f"{type_words(value)} where {wanted} is wanted"
        reasons = ((index, value_misfit(item, wanted.item)) for index, item in enumerate(value))
        return next((f"item {index}: {reason}" for index, reason in reasons if reason), None)
    if isinstance(wanted, MappingType):
        if not isinstance(value, Mapping):
            return f"{type_words(value)} where {wanted} is wanted"
        for name, kind in wanted.fields or ():
            if name not in value:
                return f"key {printable(name, _SHOWN)} is missing"
            if reason := value_misfit(value[name], kind):
                return f"{printable(name, _SHOWN)}: {reason}"
        return None
    if isinstance(wanted, TensorType):
        if not isinstance(value, np.ndarray):
            return f"{type_words(value)} where {wanted} is wanted"
        return _tensor_misfit(TensorType(value.dtype.name, value.shape), wanted)
    return None if _is_scalar(value, wanted) else f"{type_words(value)} where {wanted} is wanted"


def type_words(value: object) -> str:
    """What a value is, in the words of the grammar where it has any."""
    if value is None:
        return "nothing"
    if isinstance(value, np.ndarray):
        return str(TensorType(value.dtype.name, value.shape))
    names: tuple[tuple[type, str], ...] = (
        (bool, "truth"), (int, "number"), (float, "number"), (str, "text"), (bytes, "bytes"),
        (list, "list"), (tuple, "list"), (dict, "mapping"),
    )  # fmt: skip
    return next((word for kind, word in names if isinstance(value, kind)), type(value).__name__)


def _is_scalar(value: object, wanted: ValueType) -> bool:
    match wanted:
        case Scalar("bytes"):
            return isinstance(value, bytes | bytearray | memoryview)
        case Scalar("text"):
            return isinstance(value, str)
        case Scalar("number"):
            return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        case Scalar("truth"):
            return isinstance(value, bool | np.bool_)
    return False


def _tensor_misfit(given: TensorType, wanted: TensorType) -> str | None:
    fits = (given.dtype is None or wanted.dtype is None or given.dtype == wanted.dtype) and (
        given.shape is None
        or wanted.shape is None
        or (
            len(given.shape) == len(wanted.shape)
            and all(
                here is None or there is None or here == there
                for here, there in zip(given.shape, wanted.shape, strict=True)
            )
        )
    )
    return None if fits else f"{given} where {wanted} is wanted"


def _mapping_misfit(given: MappingType, wanted: MappingType) -> str | None:
    if given.fields is None or wanted.fields is None:
        return None
    for name, kind in wanted.fields:
        here = given.field(name)
        if here is None:
            return f"key {printable(name, _SHOWN)} is missing from {given}"
        if reason := misfit(here, kind):
            return f"{printable(name, _SHOWN)}: {reason}"
    return None


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f'"{name}"'


class _Parser:
    """Recursive descent over the tokens of one type."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def type(self, depth: int) -> ValueType:
        if depth > _MAX_DEPTH:
            raise self._wrong("is nested too deeply")
        word = self._next()
        if word == "{":
            return self._mapping(depth)
        if word not in _PLAIN:
            raise self._wrong(f"has {printable(word, _SHOWN)!r} where one of {', '.join(_PLAIN)} is expected")
        if word in ("list", "tensor") and self._peek() == "[":
            self._next()
            return self._list(depth) if word == "list" else self._tensor()
        return _PLAIN[word]

    def end(self) -> None:
        if self._peek():
            raise self._wrong("has something behind its end")

    def _list(self, depth: int) -> ValueType:
        item = self.type(depth + 1)
        self._expect("]")
        return ListType(item)

    def _tensor(self) -> ValueType:
        dtype = self._next()
        if dtype not in DTYPES:
            raise self._wrong(f"has {printable(dtype, _SHOWN)!r} where a dtype is expected ({', '.join(DTYPES)})")
        shape: list[int | None] = []
        while self._peek() == ",":
            self._next()
            size = self._next()
            if size != "_" and not size.isdecimal():
                raise self._wrong(f"has {printable(size, _SHOWN)!r} where a size or _ is expected")
            shape.append(None if size == "_" else int(size))
        self._expect("]")
        return TensorType(dtype, tuple(shape) if shape else None)

    def _mapping(self, depth: int) -> ValueType:
        fields: dict[str, ValueType] = {}
        while self._peek() != "}":
            if fields:
                self._expect(",")
            name = self._next().strip('"')
            if name in fields:
                raise self._wrong(f"has {name} twice")
            self._expect(":")
            fields[name] = self.type(depth + 1)
        self._next()
        return MappingType(tuple(fields.items()))

    def _peek(self) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            if self._text[self._at :].strip():
                raise self._wrong(f"has {printable(self._text[self._at :].strip()[0])!r}, which no type has")
            return ""
        return match[1]

    def _next(self) -> str:
        word = self._peek()
        if not word:
            raise self._wrong("ends too early")
        match = _TOKEN.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return word

    def _expect(self, wanted: str) -> None:
        if (found := self._next()) != wanted:
            raise self._wrong(f"has {printable(found, _SHOWN)!r} where {wanted!r} is expected")

    def _wrong(self, what: str) -> SpecError:
        return SpecError(f"type {printable(self._text, _SHOWN)!r} {what}")
