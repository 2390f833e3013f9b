"""A profile that contradicts itself, or is no profile, is refused: profiles come from peers and files."""

from __future__ import annotations

from typing import Any

import pytest

from support.profiles import made_up_profile
from tercet.documents import parse_document
from tercet.errors import SpecError
from tercet.profile import Profile


def data() -> dict[str, Any]:
    return made_up_profile().model_dump(mode="json")


def test_a_made_up_profile_is_valid() -> None:
    assert parse_document(Profile, data(), "it") == made_up_profile()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"boundaries": [["x"]]}, "1 segments need 2 boundaries"),
        ({"boundary_bytes": [1, 2, 3]}, "as many boundary_bytes"),
        ({"spans": [{"start": 0, "stop": 2, "measured_ms": 1, "predicted_ms": 1}]}, "no stretch 0 to 2"),
        ({"spans": [{"start": 1, "stop": 1, "measured_ms": 1, "predicted_ms": 1}]}, "no stretch 1 to 1"),
        ({"cut": "other@0123456789ab"}, "not a cut of tiny"),
        ({"cut": "tiny@../../etc"}, "cut"),
        ({"cut": "tiny"}, "cut"),
        ({"node": "../up"}, "node"),
        ({"model": "UP"}, "model"),
        ({"segments": []}, "segments"),
        ({"segments": [{"ms": 1.0, "kernels": []}]}, "kernels"),
        ({"session_ms": -1.0}, "session_ms"),
        ({"session_ms": float("nan")}, "session_ms"),
        ({"whole_ms": float("inf")}, "whole_ms"),
        ({"slowdown": 0.5}, "slowdown"),
        ({"clock": "sun"}, "clock"),
        ({"runtime": "x" * 300}, "runtime"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_no_profile_is_refused_with_its_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        parse_document(Profile, data() | change, "it")
