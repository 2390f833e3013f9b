"""Nothing leaves the store that is not what its address says, and no name leads out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.affine_chain import HEAD, WHOLE, add_affine_chain, affine_manifest, onnx_bytes
from tercet.documents import write_document
from tercet.errors import ContractError, IntegrityError, NotFoundError, SpecError
from tercet.identifiers import ModelRef
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.manifest import Manifest
from tercet.models.store import Store, sha256_of

ESCAPES = ["../x", "..", "/etc/passwd", "a/b", "a\\b", "", ".", "x\n", "x\0", "Ünicode", "x" * 64]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def card_of(data: bytes, name: str = "affine") -> ModelCard:
    onnx = OnnxFile(sha256=sha256_of(data), size_bytes=len(data))
    return ModelCard(name=name, task="other", licence="Apache-2.0", onnx=onnx, input=TensorInput(), output="y")


def test_a_model_comes_back_as_it_was_added(store: Store) -> None:
    data = onnx_bytes(WHOLE)
    store.add_model(card_of(data), data)
    assert store.card("affine") == card_of(data)
    assert store.model_bytes(store.card("affine")) == data
    assert list(store.model_names()) == ["affine"]


def test_a_card_of_another_file_is_refused_before_anything_is_written(store: Store) -> None:
    with pytest.raises(IntegrityError, match="another ONNX file"):
        store.add_model(card_of(b"other"), onnx_bytes(WHOLE))
    assert not store.root.exists()


def test_a_model_that_was_tampered_with_is_refused(store: Store) -> None:
    data = onnx_bytes(WHOLE)
    store.add_model(card_of(data), data)
    (store.root / "models" / "affine" / "model.onnx").write_bytes(data[:-1] + b"\0")
    with pytest.raises(IntegrityError, match=r"sha256 .*…, expected .*…\): delete it"):
        store.model_bytes(store.card("affine"))


def test_an_unknown_model_is_refused_with_the_known_ones(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"'nosuch' .*there: none.*tercet models fetch nosuch"):
        store.card("nosuch")
    store.add_model(card_of(b"1"), b"1")
    with pytest.raises(NotFoundError, match="there: affine"):
        store.card("nosuch")


def test_a_card_in_another_models_folder_is_refused(store: Store) -> None:
    write_document(card_of(b"1", "real"), store.root / "models" / "fake" / "model.yaml")
    with pytest.raises(SpecError, match="card of 'real': it must lie in models/real"):
        store.card("fake")


@pytest.mark.parametrize("name", ESCAPES)
def test_no_model_name_leads_out_of_the_store(store: Store, name: str) -> None:
    with pytest.raises(SpecError, match="is not allowed"):
        store.card(name)


@pytest.mark.parametrize("address", [*ESCAPES, "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 65])
def test_no_segment_address_leads_out_of_the_store(store: Store, address: str) -> None:
    with pytest.raises(SpecError, match="is not a sha256"):
        store.segment_path(address)


@pytest.mark.parametrize("file", ["../model.onnx", "/tmp/model.onnx", ".onnx", "model.bin", "a/b.onnx", "m.onnx\n"])
def test_no_card_leads_out_of_the_store(file: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        OnnxFile(file=file, sha256="a" * 64, size_bytes=1)


def test_segments_lie_at_their_address_and_are_written_once(store: Store) -> None:
    data = onnx_bytes(HEAD)
    address = store.add_segment(data)
    written = store.segment_path(address).stat().st_mtime_ns
    assert store.add_segment(data) == address == sha256_of(data)
    assert store.segment_path(address).stat().st_mtime_ns == written
    assert [path.name for path in store.segment_path(address).parent.iterdir()] == [f"{address}.onnx"]


@pytest.mark.parametrize("garble", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""])
def test_a_segment_that_was_tampered_with_is_refused(store: Store, garble: object) -> None:
    segment = add_affine_chain(store).segments[0]
    assert store.segment_bytes(segment) == onnx_bytes(HEAD)
    path = store.segment_path(segment.sha256)
    path.write_bytes(garble(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(IntegrityError, match=path.name):
        store.segment_bytes(segment)


def test_a_missing_segment_is_named(store: Store) -> None:
    segment = affine_manifest().segments[0]
    with pytest.raises(NotFoundError, match=f"{segment.sha256}.onnx is missing"):
        store.segment_bytes(segment)


def test_a_manifest_is_found_by_any_unique_start_of_its_address(store: Store) -> None:
    manifest = add_affine_chain(store)
    for ref in (manifest.ref, f"affine@{manifest.sha256}", f"affine@{manifest.sha256[:1]}"):
        assert store.manifest(ModelRef(ref)) == manifest


def test_an_ambiguous_address_asks_for_more_digits(store: Store) -> None:
    manifest = add_affine_chain(store)
    others = (manifest.model_copy(update={"model": f"other{number}"}) for number in range(1000))
    twin = next(other for other in others if fresh(other).sha256[:1] == manifest.sha256[:1])
    store.add_manifest(fresh(twin))
    with pytest.raises(SpecError, match="ambiguous: give more digits"):
        store.manifest(ModelRef(f"affine@{manifest.sha256[:1]}"))
    assert store.manifest(manifest.ref) == manifest


def fresh(manifest: Manifest) -> Manifest:
    """Without the address that the original had computed."""
    return Manifest.model_validate(manifest.model_dump())


def test_an_unknown_reference_says_what_to_run(store: Store) -> None:
    with pytest.raises(NotFoundError, match="run `tercet models slice affine`"):
        store.manifest(ModelRef("affine@012345678901"))


def test_a_reference_with_another_models_name_is_refused(store: Store) -> None:
    digest = add_affine_chain(store).sha256
    with pytest.raises(SpecError, match="is of model affine"):
        store.manifest(ModelRef(f"other@{digest}"))


@pytest.mark.parametrize(
    "ref", ["", "affine", "affine@", "@", "affine@../x", "affine@*", "affine@ABC", "affine@0\n", "affine@0@0"]
)
def test_what_is_no_reference_is_refused(store: Store, ref: str) -> None:
    add_affine_chain(store)
    with pytest.raises(SpecError, match="is not NAME@DIGEST"):
        store.manifest(ModelRef(ref))


def test_a_manifest_that_was_tampered_with_is_refused(store: Store) -> None:
    manifest = add_affine_chain(store)
    path = store.root / "manifests" / f"{manifest.sha256}.json"
    path.write_bytes(path.read_bytes().replace(b'"h"', b'"k"'))
    with pytest.raises(IntegrityError, match=path.name):
        store.manifest(manifest.ref)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"format": 1}'])
def test_a_manifest_that_is_none_is_refused_though_its_address_is_right(store: Store, data: bytes) -> None:
    path = store.root / "manifests" / f"{sha256_of(data)}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(ContractError, match=path.name):
        store.manifest(ModelRef(f"affine@{sha256_of(data)}"))


def test_a_manifest_that_is_not_written_as_we_would_is_refused(store: Store) -> None:
    """Its address would not be the one that frames carry."""
    data = json.dumps(affine_manifest().model_dump(mode="json"), indent=2).encode()
    path = store.root / "manifests" / f"{sha256_of(data)}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(SpecError, match="not as this version writes it"):
        store.manifest(ModelRef(f"affine@{sha256_of(data)}"))
