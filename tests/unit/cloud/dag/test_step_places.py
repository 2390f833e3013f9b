"""A worker runs the model that is in its store now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.affine_chain import HEAD, onnx_bytes
from tercet.errors import NotFoundError
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet_cloud.dag.call import Circumstances, Means, make_call
from tercet_cloud.dag.outcomes import WHOLE
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.dag.step_places import StepPlaces


def put(store: Store, data: bytes) -> None:
    onnx = OnnxFile(sha256=sha256_of(data), size_bytes=len(data))
    card = ModelCard(name="affine", task="other", licence="Apache-2.0", onnx=onnx, input=TensorInput(), output="h")
    store.add_model(card, data)


def test_a_model_that_is_replaced_in_the_store_is_opened_anew(tmp_path: Path) -> None:
    store, places = Store(tmp_path), StepPlaces()
    call = make_call(Pipeline(name="p").node("n", model="affine"), "n", "cloud", Means(tmp_path))
    x = {"x": np.ones((1, 3), np.float32)}

    def run() -> Any:
        return places.run(call, x, Circumstances("r", WHOLE, 1, (), 0.0, None))["h"].tolist()

    with pytest.raises(NotFoundError):
        run()
    put(store, onnx_bytes(HEAD))
    assert run() == run() == [[3.0, 3.0, 3.0]]
    put(store, onnx_bytes(HEAD.replace("2.0", "4.0")))
    assert run() == [[5.0, 5.0, 5.0]]
