"""cascade.yaml: what is refused, and what its certificates must prove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tercet.cascade.document import Cascade, read_cascade
from tercet.documents import parse_document, write_document
from tercet.errors import SpecError

CERTIFICATE = {
    "threshold": 0.8,
    "alpha": 0.05,
    "delta": 0.05,
    "frames": 300,
    "exits": 200,
    "wrong": 4,
    "bound": 0.046,
    "agreed_with": "large model",
}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "photos",
        "stages": [
            {
                "tier": "device",
                "model": "small@0123456789ab",
                "plan": "whole",
                "exit": {"threshold": 0.8},
                "certificate": CERTIFICATE,
            },
            {"tier": "cloud", "model": "large@ba9876543210", "plan": "whole"},
        ],
        **changes,
    }


def with_stage(place: int, **changes: Any) -> dict[str, Any]:
    data = document()
    data["stages"][place] = {**data["stages"][place], **changes}
    return data


def parse(data: dict[str, Any]) -> Cascade:
    return parse_document(Cascade, data, "cascade.yaml")


def test_what_is_written_is_what_is_read_an_exit_that_is_closed_included(tmp_path: Path) -> None:
    closed = with_stage(
        0,
        exit={"threshold": float("inf")},
        certificate={**CERTIFICATE, "threshold": float("inf"), "exits": 0, "wrong": 0},
    )
    for number, cascade in enumerate((parse(document()), parse(closed))):
        path = tmp_path / f"{number}.yaml"
        write_document(cascade, path)
        assert read_cascade(path) == cascade
        assert read_cascade(path).ref == cascade.ref


def test_any_change_gives_another_reference() -> None:
    references = {
        parse(data).ref
        for data in (
            document(),
            document(escalate="fp16"),
            document(audit={"share": 0.1}),
            with_stage(1, model="large@ba9876543211"),
        )
    }
    assert len(references) == 4
    assert all(ref.startswith("photos@") for ref in references)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (with_stage(0, certificate=None), "exits without a certificate: run `tercet cascade calibrate`, or write"),
        (with_stage(0, exit={"threshold": 0.7}), "0.7 is not the one that was certified, 0.8"),
        (with_stage(0, exit={"threshold": float("nan")}), "no number"),
        (with_stage(0, certificate={**CERTIFICATE, "wrong": 9}), "9 wrong of 200 exits do not prove"),
        (with_stage(0, certificate={**CERTIFICATE, "exits": 0, "wrong": 0}), "do not prove"),
        (with_stage(0, certificate={**CERTIFICATE, "wrong": 201}), "cannot be"),
        (with_stage(0, certificate={**CERTIFICATE, "alpha": 1.0}), "alpha"),
        (with_stage(0, exit=None), "certificate without an exit"),
        (with_stage(0, exit=None, certificate=None), "only the last one answers every frame"),
        (with_stage(1, exit={"threshold": 0.5}), "leave out its exit"),
        (with_stage(1, tier="device"), "each on a tier of its own"),
        (with_stage(0, tier="cloud"), "in the order device, edge, cloud"),
        (with_stage(1, exit={"threshold": 0.5, "temperature": 0}), "temperature"),
        (document(escalate="delta:10+int8"), "does not see every frame"),
        (document(escalate="zip"), "zip"),
        (document(audit={"share": 1.5}), "share"),
        (document(audit={"window": 3}), "window"),
        (document(stages=[]), "stages"),
        (document(thresholds=[1]), "thresholds"),
    ],
)
def test_a_cascade_that_promises_what_it_cannot_is_refused(data: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        parse(data)


def test_without_certificate_it_must_say_so() -> None:
    assert parse({**with_stage(0, certificate=None), "uncertified": True}).stages[0].certificate is None
