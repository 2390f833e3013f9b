"""`--input NAME=VALUE` made the values that a pipeline's inputs are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tercet.errors import InputError, NotFoundError
from tercet.steps.value_types import BYTES, TEXT, TensorType, ValueType, parse_type, value_misfit
from tercet_cloud.dag.spec import Pipeline


def read_inputs(pipeline: Pipeline, given: Sequence[str]) -> dict[str, Any]:
    """Values by name.

    `@FILE` is a file's content: bytes as they are, `.npy` for a tensor, else text or JSON. A text needs no quotes;
    everything else is JSON.

    Raises:
        InputError, NotFoundError: an input is missing, unknown or not of its type, a file is not there.
    """
    texts = dict(_split(text) for text in given)
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
        if isinstance(kind, TensorType):
            return _tensor(name, path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"input {name}: cannot read {path}: {error.strerror}") from error
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
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"input {name}: {text[:60]!r} is not JSON; name a file as @FILE") from error


def _tensor(name: str, path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"input {name}: {path} is no .npy file: {error}") from error
