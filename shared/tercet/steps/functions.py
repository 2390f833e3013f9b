"""Functions by import path, and what they say of their arguments and results."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tercet.errors import SpecError
from tercet.printable import printable
from tercet.steps.value_types import (
    ANY,
    BYTES,
    NUMBER,
    TEXT,
    TRUTH,
    ListType,
    MappingType,
    TensorType,
    ValueType,
    parse_type,
)

# Given to functions that have parameters of these names and are not given them otherwise.
CONTEXT = ("idempotency_key", "attempt", "time_left_s", "store")
_SHOWN = 120
_PLAIN: Mapping[Any, ValueType] = {bytes: BYTES, str: TEXT, int: NUMBER, float: NUMBER, bool: TRUTH}
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True)
class Signature:
    """What a function takes and gives.

    Attributes:
        takes: its parameters with their types.
        required: those without a default.
        takes_more: whether it takes arguments of any further name (`**parts`).
        context: parameters of `CONTEXT` that it has.
        gives: the type of its result.
    """

    takes: Mapping[str, ValueType]
    required: frozenset[str]
    takes_more: bool
    context: frozenset[str]
    gives: ValueType


@lru_cache(maxsize=4096)
def load_function(path: str) -> Callable[..., Any]:
    """The function of `package.module:name`; SpecError that says which part is missing."""
    module_name, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise SpecError(f"cannot import {module_name} of {path}: {printable(str(error), _SHOWN)}") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise SpecError(f"module {module_name} has no {name}") from error
    if not callable(found):
        raise SpecError(f"{path} is not a function but {type(found).__name__}")
    return typing.cast(Callable[..., Any], found)


@lru_cache(maxsize=4096)
def signature_of(path: str) -> Signature:
    """The signature of `package.module:name`. SpecError if it cannot be called by name, or says an unknown type."""
    function = load_function(path)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise SpecError(f"{path} does not say what it takes") from error
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:  # Annotations are evaluated, and may hold anything.
        raise SpecError(f"annotations of {path}: {printable(str(error), _SHOWN)}") from error
    takes, required, takes_more = dict[str, ValueType](), set[str](), False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind in _POSITIONAL:
            if parameter.default is inspect.Parameter.empty and parameter.kind is _POSITIONAL[0]:
                raise SpecError(f"{path}: parameter {parameter.name} cannot be given by name")
        else:
            takes[parameter.name] = _annotated(hints.get(parameter.name, Any), f"{path}: {parameter.name}")
            if parameter.default is inspect.Parameter.empty:
                required.add(parameter.name)
    context = frozenset(name for name in CONTEXT if name in takes)
    gives = _annotated(hints.get("return", Any), f"{path}: its result")
    return Signature(takes, frozenset(required) - context, takes_more, context, gives)


def _annotated(hint: Any, where: str) -> ValueType:
    try:
        return annotation_type(hint)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error


def annotation_type(hint: Any) -> ValueType:
    """The type that an annotation says; `any` for annotations that are none of the kinds above."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        text = next((extra for extra in arguments[1:] if isinstance(extra, str)), None)
        return annotation_type(arguments[0]) if text is None else parse_type(text)
    if typing.is_typeddict(hint):
        fields = typing.get_type_hints(hint, include_extras=True)
        kept = [(name, annotation_type(kind)) for name, kind in fields.items() if name in hint.__required_keys__]
        return MappingType(tuple(kept))
    if hint is np.ndarray or origin is np.ndarray:
        return TensorType(_dtype(arguments))
    if hint is list or origin is list:
        return ListType(annotation_type(arguments[0]) if arguments else ANY)
    if hint is dict or origin in (dict, Mapping):
        return MappingType()
    if origin in (typing.Union, types.UnionType):
        # `str | None` of an optional argument: what is given, if anything is.
        kinds = [kind for kind in arguments if kind is not type(None)]
        return annotation_type(kinds[0]) if len(kinds) == 1 and len(arguments) == 2 else ANY
    return ANY


def _dtype(arguments: tuple[Any, ...]) -> str | None:
    """Of `np.ndarray[Any, np.dtype[np.float32]]`."""
    if len(arguments) < 2:
        return None
    inner = typing.get_args(arguments[1])
    kind = inner[0] if inner else None
    return (
        np.dtype(kind).name
        if isinstance(kind, type) and issubclass(kind, np.generic) and kind in _CONCRETE
        else None
    )


_CONCRETE = {
    np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32,
    np.bool_
}  # fmt: skip
