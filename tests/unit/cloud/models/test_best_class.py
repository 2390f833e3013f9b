from __future__ import annotations

import numpy as np
import onnx
import pytest

from support.onnx_models import parse
from tercet.errors import SpecError
from tercet.inference.whole_model import WholeModel
from tercet_cloud.models.best_class import with_best_class

SCORES = """scores (float[N, 3] x) => (float[N, 3, 4] y)
<float[4] w = {1.0, 2.0, 2.0, -1.0}, int64[1] axes = {2}> {
    column = Unsqueeze(x, axes)
    y = Mul(column, w)
}"""


def scoring_model() -> onnx.ModelProto:
    return onnx.load_model_from_string(parse(SCORES))


def test_the_best_class_and_its_score_equal_those_of_the_whole_answer() -> None:
    x = np.array([[3.0, -2.0, 0.0], [1.0, 0.5, -0.25]], np.float32)
    model = scoring_model()
    (whole,) = WholeModel(model.SerializeToString()).run({"x": x}).values()
    small = with_best_class(model)
    onnx.checker.check_model(small, full_check=True)
    found = WholeModel(small.SerializeToString()).run({"x": x})
    assert np.array_equal(found["best_class"], whole.argmax(axis=2))
    assert np.array_equal(found["best_score"], whole.max(axis=2))


def test_the_given_model_stays_as_it_was() -> None:
    model = scoring_model()
    before = model.SerializeToString()
    with_best_class(model)
    assert model.SerializeToString() == before


def test_models_that_it_cannot_change_are_refused() -> None:
    two = scoring_model()
    two.graph.output.append(two.graph.output[0])
    with pytest.raises(SpecError, match="this model has 2"):
        with_best_class(two)
    young = scoring_model()
    young.opset_import[0].version = 18
    with pytest.raises(SpecError, match="opset 18"):
        with_best_class(young)
    flat = scoring_model()
    flat.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(SpecError, match="does not say its shape"):
        with_best_class(flat)
