"""8-bit variants of models: they run, are small, say the same, and can take smaller pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from support.colours import put_colours
from support.tiny_classifier import tiny_classifier
from tercet.errors import SpecError
from tercet.inference.int8_model import quantise_model
from tercet.inference.whole_model import WholeModel
from tercet.models.card import ImageInput
from tercet.models.store import Store
from tercet_cloud.measurement.sample_frames import FrameSource
from tercet_cloud.models.catalog import CATALOG
from tercet_cloud.models.commands import models
from tercet_cloud.models.quantising import make_int8

FEW = FrameSource(evaluation_frames=24)


def test_a_variant_says_nearly_always_what_the_model_says(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tiny_classifier(store)
    made = make_int8(store, "tiny-classifier", "tiny-int8", None, FEW)
    assert made.agreement >= 0.9
    assert made.frames == 12
    card = store.card("tiny-int8")
    assert card == made.card
    assert "tiny-classifier, quantised" in card.source
    assert card.labels == store.card("tiny-classifier").labels
    assert b"QuantizeLinear" in store.model_bytes(card)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    onnx_bytes = store.model_bytes(tiny_classifier(store))
    samples = [{"x": np.random.default_rng(7).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)}]
    assert quantise_model(onnx_bytes, samples) == quantise_model(onnx_bytes, samples)


def test_a_model_with_free_sides_takes_smaller_pictures(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put_colours(store)
    spec = make_int8(store, "colours", "colours-16", 16, FEW).card.input
    assert isinstance(spec, ImageInput)
    assert (spec.size, spec.resize_shorter) == (16, 18)
    assert store.card("colours-16").description == "of 16×16, int8"
    blank = np.zeros((2, 3, 16, 16), np.float32)
    assert WholeModel(store.model_bytes(store.card("colours-16"))).run({"x": blank})["scores"].shape == (2, 3)


def test_a_model_with_fixed_sides_says_that_it_has_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tiny_classifier(store)
    with pytest.raises(SpecError, match="takes pictures of 16×16 and no others"):
        make_int8(store, "tiny-classifier", "smaller", 8, FEW)


def test_a_model_does_not_become_its_own_variant(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tiny_classifier(store)
    with pytest.raises(SpecError, match="choose another name"):
        make_int8(store, "tiny-classifier", "tiny-classifier", None, FEW)


def test_what_the_quantiser_cannot_take_is_an_error_of_one_line() -> None:
    with pytest.raises(SpecError, match="cannot quantise"):
        quantise_model(b"no model", [{}])


def test_the_catalogue_keeps_the_share_of_the_picture_that_is_cut_out() -> None:
    entry = CATALOG["efficientnet-lite0"].resized(160)
    assert (entry.size, entry.resize_shorter) == (160, 183)
    assert entry.network == "efficientnet-lite0"


def test_the_command_prints_the_card_and_how_alike_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put_colours(store)
    arguments = ["quantise", "colours", "--out-name", "colours-int8", "--size", "16", "--store", str(tmp_path)]
    result = CliRunner().invoke(models, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert str(tmp_path / "models" / "colours-int8" / "model.yaml") in result.output
    assert "beside full precision, on 120 frames" in result.output
