"""The content of values as a digest: equal values have equal digests, in every process and on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np


def digest_of(*values: Any, ordered: bool = False) -> str:
    """sha256 over values, in lower-case hex.

    Numbers, texts, bytes, arrays, lists, mappings and dataclasses are taken by their content; anything else by its
    pickle, which may differ between versions of Python: then a result is computed anew.

    Args:
        ordered: mappings of another order are other values, as they are to a function that goes through them.
    """
    hasher = hashlib.sha256()
    for value in values:
        _feed(hasher, value, ordered)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any, ordered: bool) -> None:
    """Each value with its kind and length before it, so that no two values feed the same bytes."""
    if value is None or isinstance(value, bool | int | float | complex):
        _head(hasher, type(value).__name__, repr(value).encode())
    elif isinstance(value, str):
        _head(hasher, "str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes | bytearray | memoryview):
        _head(hasher, "bytes", bytes(value))
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        _head(hasher, f"array {_dtype_text(value.dtype)} {value.shape}", value.tobytes())
    elif isinstance(value, np.generic) and not value.dtype.hasobject:
        _head(hasher, f"scalar {_dtype_text(value.dtype)}", value.tobytes())
    elif isinstance(value, list | tuple):
        hasher.update(f"list {len(value)};".encode())
        for item in value:
            _feed(hasher, item, ordered)
    elif isinstance(value, Mapping):
        hasher.update(f"mapping {len(value)};".encode())
        for key in value if ordered else sorted(value, key=digest_of):
            _feed(hasher, key, ordered)
            _feed(hasher, value[key], ordered)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        _head(hasher, "dataclass", name.encode())
        for field in dataclasses.fields(value):
            _feed(hasher, getattr(value, field.name), ordered)
    else:
        _head(hasher, "pickle", pickle.dumps(value, protocol=4))


def _dtype_text(dtype: np.dtype[Any]) -> str:
    """With its fields: all structures of one size have the same `str`."""
    return dtype.str if dtype.fields is None else repr(dtype)


def _head(hasher: Any, kind: str, data: bytes) -> None:
    hasher.update(f"{kind} {len(data)};".encode())
    hasher.update(data)
