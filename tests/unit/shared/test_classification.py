"""The best label and how sure the model is, or a refusal where there is no best one."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.errors import TensorContractError
from tercet.models.classification import classify


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_the_confidence_is_the_softmax_of_the_best(shape: tuple[int, ...]) -> None:
    scores = np.array([0.5, 3.0, -1.0, 2.0], np.float32)
    best = classify(scores.reshape(shape))
    assert best.index == 1
    assert best.confidence == pytest.approx(np.exp(3.0) / np.exp(scores.astype(float)).sum())


def test_scores_too_large_to_exponentiate_are_no_trouble() -> None:
    assert classify(np.array([1e30, -1e30], np.float32)).confidence == 1.0
    assert classify(np.array([1e30, 1e30], np.float32)).confidence == 0.5


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf, 0.0], [-np.inf, 0.0]])
def test_scores_without_a_best_one_are_refused(scores: list[float]) -> None:
    with pytest.raises(TensorContractError, match="no best one"):
        classify(np.array(scores, np.float32))
