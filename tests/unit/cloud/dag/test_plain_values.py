"""Whatever a pipeline gives is printed as JSON that every reader takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pytest

from tercet_cloud.dag.plain_values import plain, plain_json


@dataclass
class Point:
    x: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2.5, True, None, "text"], [1, 2.5, True, None, "text"]),
        ([float("nan"), float("inf"), -float("inf")], [None, None, None]),
        (np.float32("nan"), None),
        ({1: np.int64(2), "b": (3,)}, {"1": 2, "b": [3]}),
        (b"abc", {"bytes": 3}),
        (1 + 2j, "(1+2j)"),
        (np.complex64(1 + 2j), "(1+2j)"),
        (date(2026, 1, 2), "2026-01-02"),
        (np.datetime64("2026-01-02T03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
        (Point(1.0), "Point(x=1.0)"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_values_become_what_json_has(value: Any, expected: Any) -> None:
    assert plain(value) == expected


@pytest.mark.parametrize(
    ("array", "data"),
    [
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.array([1 + 2j]), ["(1+2j)"]),
        (np.array(["2026-01-02"], "M8[ns]"), ["2026-01-02T00:00:00.000000000"]),
        (np.array([b"ab"]), [{"bytes": 2}]),
        (np.array([Point(1.0), [1, [2.0, np.inf]], None], object), ["Point(x=1.0)", [1, [2.0, None]], None]),
        (np.array([(1, np.nan)], [("a", "i4"), ("b", "f4")]), [[1, None]]),
        (np.array(7, np.longdouble), "7.0"),
        (np.zeros((2, 0)), [[], []]),
    ],
)
def test_elements_of_arrays_of_any_kind_do_too(array: Any, data: Any) -> None:
    assert plain(array)["data"] == data
    assert json.loads(plain_json(array))["data"] == data


def test_many_elements_are_left_out() -> None:
    assert plain(np.zeros((9, 9), np.float32)) == {"dtype": "float32", "shape": [9, 9]}
