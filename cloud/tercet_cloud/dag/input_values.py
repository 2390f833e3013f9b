"""`--input NAME=VALUE` made the values that a pipeline's inputs are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from tercet.errors import InputError, NotFoundError
from tercet.printable import printable
from tercet.steps.value_types import BYTES, TEXT, TensorType, ValueType, parse_type, value_misfit
from tercet_cloud.dag.spec import Pipeline

_REASON_CHARS = 120
# As deep as a value may be that goes to another tier; Ray's limit is not much above.
_MAX_DEPTH = 64


def read_inputs(pipeline: Pipeline, given: Sequence[str]) -> dict[str, Any]:
    """Values by name.

    `@FILE` is a file's content: bytes as they are, `.npy` for a tensor, else text or JSON. A text needs no quotes;
    everything else is JSON.

    Raises:
        InputError: an input is missing, unknown, given twice or not of its type.
        NotFoundError: a file is not there.
    """
    texts = dict[str, str]()
    for name, text in map(_split, given):
        if name in texts:
            raise InputError(f"--input {name} is given twice")
        texts[name] = text
    if unknown := sorted(set(texts) - set(pipeline.inputs)):
        known = ", ".join(pipeline.inputs) or "none"
        raise InputError(f"pipeline {pipeline.name} has no input {unknown[0]} (its inputs: {known})")
    if missing := [name for name in pipeline.inputs if name not in texts]:
        raise InputError(f"pipeline {pipeline.name} needs --input {missing[0]}=…")
    values = {name: _value(name, text, parse_type(pipeline.inputs[name])) for name, text in texts.items()}
    check_inputs(pipeline, values)
    return values


def check_inputs(pipeline: Pipeline, values: Mapping[str, Any]) -> None:
    """InputError for an input that is not of its type."""
    for name, text in pipeline.inputs.items():
        if name in values and (reason := value_misfit(values[name], parse_type(text))):
            raise InputError(f"input {name}: {reason}")


def _split(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise InputError(f"--input {text!r} is not NAME=VALUE")
    return name, value


def _value(name: str, text: str, kind: ValueType) -> Any:
    if text.startswith("@"):
        path = Path(text[1:])
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"input {name}: cannot read {path}: {error.strerror}") from error
        if isinstance(kind, TensorType):
            return _tensor(name, path, data)
        if kind == BYTES:
            return data
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"input {name}: {path} is not text") from error
    if kind == TEXT:
        return text
    if kind == BYTES:
        return text.encode()
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"input {name}: {text[:60]!r} is not JSON; name a file as @FILE") from error
    except RecursionError as error:
        raise _too_deep(name) from error
    if _is_deeper(value, _MAX_DEPTH):
        raise _too_deep(name)
    return value


def _too_deep(name: str) -> InputError:
    return InputError(f"input {name}: over {_MAX_DEPTH} lists and mappings lie in each other")


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and (levels == 0 or any(_is_deeper(item, levels - 1) for item in value))


def _tensor(name: str, path: Path, data: bytes) -> Any:
    from numpy.lib.format import read_array

    try:
        return read_array(BytesIO(data), allow_pickle=False)
    except Exception as error:  # The reader of headers has no common error, and a header may claim any size.
        raise InputError(f"input {name}: {path} is no .npy file: {printable(str(error), _REASON_CHARS)}") from error
