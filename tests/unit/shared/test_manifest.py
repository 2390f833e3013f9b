"""A manifest that contradicts itself is refused, and its address depends on nothing but what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.affine_chain import affine_manifest
from tercet.documents import parse_document
from tercet.errors import SpecError
from tercet.models.manifest import Manifest


def data() -> Any:
    return json.loads(affine_manifest().to_bytes())


def changed(change: Callable[[Any], object]) -> Any:
    result = data()
    change(result)
    return result


BAD: dict[str, tuple[Any, str]] = {
    "not a mapping": ([], "document: "),
    "missing key": (changed(lambda m: m.pop("model")), "model: Field required"),
    "unknown key": (changed(lambda m: m.update(colour="red")), "colour: unknown key"),
    "newer format": (changed(lambda m: m.update(format=2)), "format: "),
    "bad name": (changed(lambda m: m.update(model="../x")), "model: "),
    "bad sha256": (changed(lambda m: m.update(model_sha256="abc")), "model_sha256: "),
    "upper-case sha256": (changed(lambda m: m["segments"][0].update(sha256="A" * 64)), r"segments\.0\.sha256: "),
    "path for a sha256": (changed(lambda m: m["segments"][1].update(sha256="../x")), r"segments\.1\.sha256: "),
    "no segments": (changed(lambda m: m["segments"].clear()), "segments: "),
    "one boundary": (changed(lambda m: m["boundaries"].__delitem__(slice(1, None))), "boundaries: "),
    "one too many": (changed(lambda m: m["boundaries"].append(m["boundaries"][0])), "2 segments need 3 boundaries"),
    "empty boundary": (changed(lambda m: m["boundaries"][1]["tensors"].clear()), r"boundaries\.1\.tensors: "),
    "unknown dtype": (
        changed(lambda m: m["boundaries"][0]["tensors"][0].update(dtype="float8")),
        r"boundaries\.0\.tensors\.0\.dtype: ",
    ),
    "negative axis": (
        changed(lambda m: m["boundaries"][0]["tensors"][0].update(shape=[-1])),
        r"boundaries\.0\.tensors\.0\.shape\.0",
    ),
    "nameless tensor": (
        changed(lambda m: m["boundaries"][0]["tensors"][0].update(name="")),
        r"boundaries\.0\.tensors\.0\.name: ",
    ),
    "same name twice": (
        changed(lambda m: m["boundaries"][0]["tensors"].append(m["boundaries"][0]["tensors"][0])),
        "boundary 0 has two tensors of the same name",
    ),
    "input from nowhere": (
        changed(lambda m: m["segments"][1]["inputs"].append("x")),
        r"segment 1 needs \['x'\], not in boundary 1",
    ),
    "output from nowhere": (
        changed(lambda m: m["segments"][1]["outputs"].remove("seen")),
        r"boundary 2 has \['seen'\], which nothing gives",
    ),
    "no outputs": (changed(lambda m: m["segments"][0]["outputs"].clear()), r"segments\.0\.outputs: "),
    "empty segment": (changed(lambda m: m["segments"][0].update(size_bytes=0)), r"segments\.0\.size_bytes: "),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_manifest_is_refused_with_the_place(case: str) -> None:
    document, message = BAD[case]
    with pytest.raises(SpecError, match=message) as caught:
        parse_document(Manifest, document, "here.json")
    assert str(caught.value).startswith("here.json: ")
    assert "\n" not in str(caught.value)


def test_a_manifest_survives_its_own_bytes() -> None:
    manifest = affine_manifest()
    again = Manifest.model_validate_json(manifest.to_bytes())
    assert again == manifest
    assert again.sha256 == manifest.sha256


def test_the_address_does_not_depend_on_the_order_of_keys() -> None:
    backwards = {key: data()[key] for key in reversed(data())}
    assert Manifest.model_validate(backwards).sha256 == affine_manifest().sha256


def test_the_address_changes_with_everything_a_manifest_says() -> None:
    def other(m: Any) -> None:
        m["boundaries"][0]["tensors"][0]["shape"] = [1, 3]

    assert Manifest.model_validate(changed(other)).sha256 != affine_manifest().sha256


def test_frames_name_the_model_and_the_start_of_the_address() -> None:
    manifest = affine_manifest()
    assert manifest.ref == f"affine@{manifest.sha256[:12]}"


def test_frames_can_share_a_run_only_if_every_first_axis_is_free() -> None:
    assert affine_manifest().batchable
    for shape in ([1, 3], []):

        def fix(m: Any, shape: list[int] = shape) -> None:
            m["boundaries"][1]["tensors"][0]["shape"] = shape

        assert not Manifest.model_validate(changed(fix)).batchable
