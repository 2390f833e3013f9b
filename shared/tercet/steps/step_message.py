"""Steps on the wire: a request for one, what came of it, and keys that changed. Values cross as data, not code.

    TCS1 / TCR1 / TCE1 seal (as frames), then a JSON header, then payloads

The header holds values as a tree: null, true, numbers and texts as they are; {"list": […]}, {"map": [[key,
value], …]}, {"array": [dtype, shape, payload]}, {"bytes": payload}. Sizes of the payloads stand in the header,
and are claims until checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from tercet.codecs.codec import Buffer
from tercet.errors import TensorContractError, TercetError, WireFormatError
from tercet.limits import MAX_RANK
from tercet.printable import printable
from tercet.steps.value_types import DTYPES, type_words
from tercet.wire.messages import detail_from_error, error_from_detail
from tercet.wire.sealing import seal, split_payloads, unseal

REQUEST_MAGIC, RESULT_MAGIC, EVENT_MAGIC = b"TCS1", b"TCR1", b"TCE1"
MAX_KEY_CHARS = 1000
_MAX_DEPTH = 64


@dataclass(frozen=True)
class StepRequest:
    """One step to be run.

    Attributes:
        kind: call, builtin or model.
        target: import path, or name of a model in the runner's store.
        arguments: everything the function is given.
        context: what it is given only if it has parameters of these names.
    """

    kind: str
    target: str
    arguments: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)

    def seal(self) -> bytes:
        """TensorContractError for a value that cannot cross; FrameTooLargeError."""
        payloads: list[Buffer] = []
        header = {
            "kind": self.kind,
            "target": self.target,
            "arguments": _tree(dict(self.arguments), payloads, 0),
            "context": _tree(dict(self.context), payloads, 0),
        }
        return _sealed(REQUEST_MAGIC, header, payloads)

    @classmethod
    def open(cls, sealed: Buffer) -> StepRequest:
        """WireFormatError for what is no request."""
        header, payloads = _opened(REQUEST_MAGIC, sealed)
        kind, target = header.get("kind"), header.get("target")
        arguments = _value(header.get("arguments"), payloads, 0)
        context = _value(header.get("context"), payloads, 0)
        if not (isinstance(kind, str) and isinstance(target, str)):
            raise WireFormatError("a request for a step says what it wants by texts")
        if not (isinstance(arguments, dict) and isinstance(context, dict)):
            raise WireFormatError("arguments of a step are a mapping")
        return cls(kind, target, arguments, context)


def seal_result(value: Any) -> bytes:
    """TensorContractError for a value that cannot cross; FrameTooLargeError."""
    payloads: list[Buffer] = []
    return _sealed(RESULT_MAGIC, {"value": _tree(value, payloads, 0)}, payloads)


def seal_failure(error: BaseException) -> bytes:
    """What a step came to instead of a value. Of foreign errors the class and text, for whoever wrote the step."""
    detail = detail_from_error(error)
    known = isinstance(error, TercetError)
    header = {
        "error": detail.SerializeToString().hex(),
        "words": "" if known else printable(f"{type(error).__name__}: {error}", 300),
    }
    return _sealed(RESULT_MAGIC, header, [])


def seal_event(key: str, value: Any) -> bytes:
    """That `key` holds `value` now. TensorContractError for a value that cannot cross; FrameTooLargeError."""
    payloads: list[Buffer] = []
    return _sealed(EVENT_MAGIC, {"key": key, "value": _tree(value, payloads, 0)}, payloads)


def open_event(sealed: Buffer) -> tuple[str, Any]:
    """Key and value. WireFormatError."""
    header, payloads = _opened(EVENT_MAGIC, sealed)
    key = header.get("key")
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS:
        raise WireFormatError(f"an event has a key of 1 to {MAX_KEY_CHARS} characters")
    return key, _value(header.get("value"), payloads, 0)


class StepFailedError(TercetError):
    """A step raised an error of its own on another tier; the text is that error's."""


def open_result(sealed: Buffer) -> Any:
    """The value. Raises what the step came to, or WireFormatError."""
    from tercet.v1 import frame_pb2 as pb

    header, payloads = _opened(RESULT_MAGIC, sealed)
    if "error" not in header:
        return _value(header.get("value"), payloads, 0)
    if header.get("words"):
        raise StepFailedError(printable(str(header["words"]), 300))
    detail = pb.ErrorDetail()
    try:
        detail.ParseFromString(bytes.fromhex(str(header["error"])))
    except Exception as error:
        raise WireFormatError("a step's failure cannot be read") from error
    raise error_from_detail(detail)


def _sealed(magic: bytes, header: dict[str, Any], payloads: list[Buffer]) -> bytes:
    header["sizes"] = [memoryview(payload).nbytes for payload in payloads]
    return seal(magic, json.dumps(header, separators=(",", ":")).encode(), payloads)


def _opened(magic: bytes, sealed: Buffer) -> tuple[dict[str, Any], list[memoryview]]:
    written, area = unseal(magic, sealed)
    try:
        header = json.loads(bytes(written))
    except (ValueError, RecursionError) as error:
        raise WireFormatError("the header of a step's message is not JSON") from error
    sizes = header.get("sizes") if isinstance(header, dict) else None
    if not isinstance(sizes, list) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise WireFormatError("a step's message does not say the sizes of its payloads")
    return header, split_payloads(area, sizes)


def _tree(value: Any, payloads: list[Buffer], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise TensorContractError("a value is nested too deeply to cross between tiers")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes | bytearray | memoryview):
        payloads.append(bytes(value))
        return {"bytes": len(payloads) - 1}
    if isinstance(value, np.ndarray):
        if value.dtype.name not in DTYPES:
            raise TensorContractError(f"an array of {value.dtype.name} does not cross between tiers")
        payloads.append(np.ascontiguousarray(value).tobytes())
        return {"array": [value.dtype.name, list(value.shape), len(payloads) - 1]}
    if isinstance(value, list | tuple):
        return {"list": [_tree(item, payloads, depth + 1) for item in value]}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"map": [[key, _tree(item, payloads, depth + 1)] for key, item in value.items()]}
    raise TensorContractError(
        f"{type_words(value)} does not cross between tiers: give numbers, texts, bytes, arrays, lists and mappings"
    )


def _value(tree: Any, payloads: list[memoryview], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise WireFormatError("a value is nested too deeply")
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    try:
        ((kind, inner),) = tree.items()
        match kind:
            case "list":
                return [_value(item, payloads, depth + 1) for item in inner]
            case "map":
                return {str(key): _value(item, payloads, depth + 1) for key, item in inner}
            case "bytes":
                return bytes(payloads[inner])
            case "array":
                dtype, shape, payload = inner
                return _array(dtype, shape, payload, payloads)
    except (AttributeError, ValueError, TypeError, LookupError) as error:
        raise WireFormatError("a step's message holds what is no value") from error
    raise WireFormatError(f"a step's message holds a value of an unknown kind, {printable(str(kind), 40)!r}")


def _array(dtype: str, shape: list[int], payload: int, payloads: list[memoryview]) -> Any:
    if (
        dtype not in DTYPES
        or len(shape) > MAX_RANK
        or not all(isinstance(size, int) and size >= 0 for size in shape)
    ):
        raise WireFormatError("a step's message claims an array that cannot be")
    data = payloads[payload]
    if prod(shape) * np.dtype(dtype).itemsize != len(data):
        raise WireFormatError("an array of a step's message has another size than it claims")
    return np.frombuffer(data, dtype).reshape(shape).copy()
