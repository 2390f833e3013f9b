"""One picture for all stages: equal pixels stay equal, sizes are made to fit, codecs in between are seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tercet.cascade.stage_input import adapt_input, check_inputs_fit
from tercet.codecs.codec import Float32Array
from tercet.errors import SpecError, TensorContractError
from tercet.models.card import ImageInput, ModelCard, OnnxFile, TensorInput
from tercet.models.photos import preprocess

LARGE = ImageInput(tensor="photo", size=32, resize_shorter=32, mean=(127.0,) * 3, std=(128.0,) * 3)
SMALL = ImageInput(
    tensor="x", size=16, resize_shorter=18, resample="bilinear", mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)
)


def random_photo(seed: int, side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def picture(seed: int = 0) -> dict[str, Float32Array]:
    return {"photo": preprocess(random_photo(seed), LARGE)}


@given(st.integers(0, 2**32 - 1))
def test_of_equal_size_a_stage_gets_the_very_tensor_that_its_own_card_would_have_given(seed: int) -> None:
    own = SMALL.model_copy(update={"size": 32, "resize_shorter": 32})
    expected = preprocess(random_photo(seed), own)
    found = adapt_input(picture(seed), LARGE, own)
    assert list(found) == ["x"]
    assert np.array_equal(found["x"], expected)


def test_a_smaller_stage_gets_the_picture_resized_its_own_way() -> None:
    found = adapt_input(picture(), LARGE, SMALL)["x"]
    resized = random_photo(0).resize((16, 16), Image.Resampling.BILINEAR)
    mean, std = (np.asarray(values, np.float32) for values in (SMALL.mean, SMALL.std))
    expected = ((np.asarray(resized, np.float32) - mean) / std).transpose(2, 0, 1)[None]
    assert found.shape == (1, 3, 16, 16)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_several_pictures_are_each_adapted_and_none_is_changed() -> None:
    both = {"photo": np.concatenate([picture(1)["photo"], picture(2)["photo"]])}
    before = both["photo"].copy()
    found = adapt_input(both, LARGE, SMALL)["x"]
    for place, seed in enumerate((1, 2)):
        assert np.array_equal(found[place : place + 1], adapt_input(picture(seed), LARGE, SMALL)["x"])
    assert np.array_equal(both["photo"], before)


def test_tensors_and_the_last_stages_own_input_pass_as_they_are() -> None:
    x = {"a": np.arange(6, dtype=np.int64)}
    assert adapt_input(x, TensorInput(), TensorInput())["a"] is x["a"]
    photo = picture()
    assert adapt_input(photo, LARGE, LARGE)["photo"] is photo["photo"]


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"x": np.zeros((1, 3, 32, 32), np.float32)},
        {"photo": np.zeros((1, 3, 32, 32), np.float64)},
        {"photo": np.zeros((1, 1, 32, 32), np.float32)},
        {"photo": np.zeros((3, 32, 32), np.float32)},
        {"photo": np.full((1, 3, 32, 32), np.nan, np.float32)},
        {"photo": np.full((1, 3, 32, 32), np.inf, np.float32)},
    ],
)
def test_what_is_no_such_photo_is_refused(tensors: dict[str, Float32Array]) -> None:
    with pytest.raises(TensorContractError):
        adapt_input(tensors, LARGE, SMALL)


def card(name: str, **changes: object) -> ModelCard:
    fields: dict[str, object] = {
        "name": name,
        "task": "classification",
        "licence": "Apache-2.0",
        "onnx": OnnxFile(sha256="0" * 64, size_bytes=1),
        "input": LARGE,
        "output": "scores",
        "labels": ("cat", "dog"),
    }
    return ModelCard.model_validate({**fields, **changes})


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (card("small", labels=("dog", "cat")), "different labels"),
        (card("small", input=TensorInput()), "share one input"),
        (card("small", task="embedding"), "are classifiers"),
    ],
)
def test_stages_that_cannot_be_compared_are_refused(other: ModelCard, says: str) -> None:
    check_inputs_fit([card("small", input=SMALL), card("large")])
    with pytest.raises(SpecError, match=says):
        check_inputs_fit([other, card("large")])
