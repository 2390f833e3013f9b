"""The content of values as a digest: equal values have equal digests, in every process and on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np


def digest_of(*values: Any) -> str:
    """sha256 over values, in lower-case hex.

    Numbers, texts, bytes, arrays, lists, mappings (whatever their order) and dataclasses are taken by their
    content; anything else by its pickle, which may differ between versions of Python: then a result is computed
    anew.
    """
    hasher = hashlib.sha256()
    for value in values:
        _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    """Each value with its kind and length before it, so that no two values feed the same bytes."""
    if value is None or isinstance(value, bool | int | float | complex):
        _head(hasher, type(value).__name__, repr(value).encode())
    elif isinstance(value, str):
        _head(hasher, "str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes | bytearray | memoryview):
        _head(hasher, "bytes", bytes(value))
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        _head(hasher, f"array {value.dtype.str} {value.shape}", np.ascontiguousarray(value).data)
    elif isinstance(value, np.generic):
        _head(hasher, f"scalar {value.dtype.str}", value.tobytes())
    elif isinstance(value, list | tuple):
        hasher.update(f"list {len(value)};".encode())
        for item in value:
            _feed(hasher, item)
    elif isinstance(value, Mapping):
        hasher.update(f"mapping {len(value)};".encode())
        for digest, key in sorted(((digest_of(key), key) for key in value), key=lambda pair: pair[0]):
            hasher.update(digest.encode())
            _feed(hasher, value[key])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        _head(hasher, "dataclass", name.encode())
        for field in dataclasses.fields(value):
            _feed(hasher, getattr(value, field.name))
    else:
        _head(hasher, "pickle", pickle.dumps(value, protocol=4))


def _head(hasher: Any, kind: str, data: Any) -> None:
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    hasher.update(f"{kind} {size};".encode())
    hasher.update(data)
