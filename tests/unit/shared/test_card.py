"""A card that would feed a model wrongly is refused with the field."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tercet.documents import parse_document
from tercet.errors import SpecError
from tercet.models.card import ImageInput, ModelCard

GOOD: dict[str, Any] = {
    "name": "lite0",
    "task": "classification",
    "licence": "Apache-2.0",
    "onnx": {"sha256": "a" * 64, "size_bytes": 10},
    "input": {
        "kind": "image",
        "tensor": "images",
        "size": 224,
        "resize_shorter": 256,
        "mean": [127, 127, 127],
        "std": [128, 128, 128],
    },
    "output": "logits",
    "labels": ["cat", "dog"],
}


def card(**changes: Any) -> Any:
    """GOOD with some values replaced; names of nested values are joined by two underscores, None removes."""
    data = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[name]
        else:
            place[name] = value
    return data


def test_a_good_card_is_read() -> None:
    parsed = parse_document(ModelCard, GOOD, "model.yaml")
    assert isinstance(parsed.input, ImageInput)
    assert (parsed.input.resample, parsed.input.mean) == ("bicubic", (127.0, 127.0, 127.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "a classification model needs labels"),
        ({"labels": []}, "a classification model needs labels"),
        ({"licence": ""}, "licence: "),
        ({"name": "Lite 0"}, "name: "),
        ({"task": "guessing"}, "task: "),
        ({"format": 2}, "format: "),
        ({"onnx__sha256": "A" * 64}, r"onnx\.sha256: "),
        ({"onnx__file": "../model.onnx"}, r"onnx\.file: "),
        ({"onnx__size_bytes": 0}, r"onnx\.size_bytes: "),
        ({"input__kind": "sound"}, "input: .*'image', 'tensor'"),
        ({"input__size": 257}, "size 257 is larger than resize_shorter 256"),
        ({"input__size": 0}, r"input\.size: "),
        ({"input__size": 10**6}, r"input\.size: "),
        ({"input__std": [1, 0, 1]}, "std must be positive"),
        ({"input__std": [1, float("inf"), 1]}, r"input\.std\.1: .*finite"),
        ({"input__mean": [float("nan"), 0, 0]}, r"input\.mean\.0: .*finite"),
        ({"input__mean": [0, 0]}, r"input\.mean"),
        ({"input__resample": "magic"}, r"input\.resample: "),
        ({"input__layout": "NHWC"}, r"input\.layout: "),
        ({"input__tensor": None}, r"input\.tensor: Field required"),
        ({"colour": "red"}, "colour: unknown key"),
    ],
)
def test_a_bad_card_is_refused_with_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse_document(ModelCard, card(**changes), "model.yaml")
    assert str(caught.value).startswith("model.yaml: ")
    assert "\n" not in str(caught.value)
