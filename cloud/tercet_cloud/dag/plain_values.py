"""Values of any kind as JSON, for people and other programs to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tercet.printable import printable

SHOWN_CHARS = 2000
_SHOWN_ELEMENTS = 64


def plain_json(value: Any, *, indent: int | None = None) -> str:
    """The text of `plain(value)`."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """A value as JSON has it: never an error, at the price of what JSON lacks.

    NaN and infinity become null; bytes become how many they are; arrays what they are, with their elements if those
    are few; all else that JSON has no kind for (complex numbers, dates, objects) becomes text.
    """
    if isinstance(value, np.ndarray):
        few = {"data": _elements(value)} if value.size <= _SHOWN_ELEMENTS else {}
        return {"dtype": value.dtype.name, "shape": list(value.shape), **few}
    if isinstance(value, np.generic):
        return _scalar(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": len(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return printable(str(value), SHOWN_CHARS)


def _elements(array: np.ndarray[Any, Any]) -> Any:
    """Lists of lists, as deep as the array has axes."""
    if array.dtype.hasobject:
        return plain(array.tolist())
    if array.ndim:
        return [_elements(np.asarray(part)) for part in array]
    (value,) = array.flat
    return _scalar(value)


def _scalar(value: np.generic) -> Any:
    # Numbers of kinds that Python lacks are their own item, and dates in nanoseconds would become numbers.
    item = value if value.dtype.kind in "mM" else value.item()
    return printable(str(item), SHOWN_CHARS) if isinstance(item, np.generic) else plain(item)
