"""Conditions on values of a run: `detect.score > 0.5 and len(detect.boxes) > 0`. Never evaluated as code.

    condition  := and ("or" and)*
    and        := not ("and" not)*
    not        := "not" not | comparison
    comparison := value [("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in") value]
    value      := NUMBER | "TEXT" | true | false | null | REFERENCE | len(value) | [value, …] | (condition)

A reference is one of `references`; in the condition of a `filter` also `item…`. A value that stands alone counts as
true as Python counts it; an array counts by its number of elements. Comparing what cannot be compared is an error
that says so, never false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tercet.errors import InputError, SpecError
from tercet.printable import printable
from tercet.steps.references import Reference, reference_at
from tercet.steps.value_types import type_words

Lookup = Callable[[Reference], object]
_SHOWN = 80
_MAX_CHARS = 1000
_MAX_DEPTH = 32
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?(?![\w.])")
_TEXT = re.compile(r"\"([^\"\\]*)\"|'([^'\\]*)'")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>|(?:not\s+in|in)(?![\w.-])")
_WORDS = {"true": True, "false": False, "null": None}
_KEYWORDS = frozenset({"and", "or", "not", "in"})
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Condition:
    """One node of the parsed condition.

    Attributes:
        kind: or, and, not, an operator, len, list, literal or reference.
        parts: what it is made of.
        literal: of a literal.
        reference: of a reference.
    """

    kind: str
    parts: tuple[Condition, ...] = ()
    literal: object = None
    reference: Reference | None = None

    def references(self) -> Iterator[Reference]:
        """Every reference in it, from left to right."""
        if self.reference is not None:
            yield self.reference
        for part in self.parts:
            yield from part.references()

    def holds(self, lookup: Lookup) -> bool:
        """Whether it is true of the values that `lookup` finds; InputError for values that cannot be compared."""
        return _truth(self._value(lookup))

    def _value(self, lookup: Lookup) -> object:
        match self.kind:
            case "literal":
                return self.literal
            case "reference":
                assert self.reference is not None
                return lookup(self.reference)
            case "list":
                return [part._value(lookup) for part in self.parts]
            case "or":
                return any(part.holds(lookup) for part in self.parts)
            case "and":
                return all(part.holds(lookup) for part in self.parts)
            case "not":
                return not self.parts[0].holds(lookup)
            case "len":
                return _length(self.parts[0]._value(lookup))
        left, right = (part._value(lookup) for part in self.parts)
        return _compare(self.kind, left, right)


@lru_cache(maxsize=4096)
def parse_condition(text: str) -> Condition:
    """SpecError that names the place for what is not a condition."""
    if len(text) > _MAX_CHARS:
        raise SpecError(f"a condition has at most {_MAX_CHARS} characters, this one {len(text)}")
    parser = _Parser(text)
    condition = parser.either(0)
    parser.end()
    return condition


def _truth(value: object) -> bool:
    return value.size > 0 if isinstance(value, np.ndarray) and value.ndim else bool(value)


def _length(value: object) -> int:
    try:
        return len(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"len() of {type_words(value)}, which has no length") from error


def _compare(operator: str, left: object, right: object) -> bool:
    left, right = _plain(left), _plain(right)
    try:
        match operator:
            case "==":
                return bool(left == right)
            case "!=":
                return bool(left != right)
            case "<":
                return bool(left < right)  # type: ignore[operator]
            case "<=":
                return bool(left <= right)  # type: ignore[operator]
            case ">":
                return bool(left > right)  # type: ignore[operator]
            case ">=":
                return bool(left >= right)  # type: ignore[operator]
            case "in":
                return left in right  # type: ignore[operator]
            case _:
                return left not in right  # type: ignore[operator]
    except (TypeError, ValueError) as error:
        raise InputError(f"{type_words(left)} {operator} {type_words(right)} cannot be compared") from error


def _plain(value: object) -> object:
    """Arrays of one element compare as that element."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def either(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self._word("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Condition("or", tuple(parts))

    def end(self) -> None:
        self._space()
        if self._at < len(self._text):
            raise self._wrong("something stands behind the end of the condition")

    def _both(self, depth: int) -> Condition:
        parts = [self._negation(depth)]
        while self._word("and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else Condition("and", tuple(parts))

    def _negation(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise self._wrong("too deeply nested")
        if self._word("not"):
            return Condition("not", (self._negation(depth + 1),))
        return self._comparison(depth)

    def _comparison(self, depth: int) -> Condition:
        left = self._operand(depth)
        operator = self._match(_OPERATOR)
        if operator is None:
            return left
        return Condition(" ".join(operator[0].split()), (left, self._operand(depth)))

    def _operand(self, depth: int) -> Condition:
        if self._symbol("("):
            inner = self.either(depth + 1)
            self._expect(")")
            return inner
        if self._symbol("["):
            return Condition("list", tuple(self._items(depth)))
        if text := self._match(_TEXT):
            return Condition("literal", literal=text[1] if text[1] is not None else text[2])
        if number := self._match(_NUMBER):
            written = number[0]
            return Condition("literal", literal=int(written) if written.lstrip("-").isdecimal() else float(written))
        for word, literal in _WORDS.items():
            if self._word(word):
                return Condition("literal", literal=literal)
        if self._match(re.compile(r"len\s*\(")):
            inner = self.either(depth + 1)
            self._expect(")")
            return Condition("len", (inner,))
        return self._reference()

    def _reference(self) -> Condition:
        self._space()
        before = self._at
        try:
            reference, self._at = reference_at(self._text, self._at)
        except SpecError as error:
            raise self._wrong("a value is expected") from error
        if reference.node in _KEYWORDS:
            self._at = before
            raise self._wrong("a value is expected")
        return Condition("reference", reference=reference)

    def _items(self, depth: int) -> Iterator[Condition]:
        if self._symbol("]"):
            return
        while True:
            yield self._operand(depth + 1)
            if self._symbol("]"):
                return
            self._expect(",")

    def _word(self, word: str) -> bool:
        return self._match(re.compile(rf"{word}(?![\w.\[-])")) is not None

    def _symbol(self, symbol: str) -> bool:
        return self._match(re.compile(re.escape(symbol))) is not None

    def _expect(self, symbol: str) -> None:
        if not self._symbol(symbol):
            raise self._wrong(f"{symbol!r} is expected")

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._space()
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _wrong(self, what: str) -> SpecError:
        shown = printable(self._text, _SHOWN)
        return SpecError(f"condition {shown!r}, at character {self._at + 1}: {what}")
