"""Exit scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tercet.cascade.exit_rule import ExitRule, ScoreKind, scores_of
from tercet.errors import TensorContractError

KINDS: tuple[ScoreKind, ...] = ("max-softmax", "margin", "energy")
logits = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(2, 9)), elements=st.floats(-30, 30, width=32)
)


@given(logits, st.floats(0.3, 5))
def test_softmax_scores_are_shares_and_the_margin_is_never_above_the_maximum(
    values: np.ndarray, heat: float
) -> None:
    largest, margin = (scores_of(values, kind, temperature=heat) for kind in ("max-softmax", "margin"))
    assert ((largest > 0) & (largest <= 1 + 1e-12)).all()
    assert ((margin >= 0) & (margin <= largest)).all()


@given(logits)
def test_probabilities_score_as_the_logits_they_came_from(values: np.ndarray) -> None:
    shares = np.exp(values - values.max(axis=1, keepdims=True).astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    for kind in ("max-softmax", "margin"):
        assert scores_of(shares, kind, "probabilities") == pytest.approx(scores_of(values, kind), abs=1e-6)


def test_heat_makes_less_sure_and_keeps_the_order_of_one_frame() -> None:
    values = np.array([[4.0, 1.0, 0.0]])
    scores = [float(scores_of(values, "max-softmax", temperature=heat)[0]) for heat in (0.5, 1, 2, 8)]
    assert scores == sorted(scores, reverse=True)


def test_energy_is_the_scaled_logarithm_of_the_sum() -> None:
    values = np.array([[1.0, 2.0, 3.0]])
    assert scores_of(values, "energy", temperature=2.0)[0] == pytest.approx(2 * np.log(np.exp(values / 2).sum()))


def test_large_logits_do_not_overflow() -> None:
    values = np.array([[1e4, -1e4]])
    assert [float(scores_of(values, kind)[0]) for kind in KINDS] == [1.0, 1.0, 1e4]


def test_a_rule_exits_at_its_threshold() -> None:
    rule = ExitRule(threshold=0.5)
    assert rule.exits(np.array([[0.0, 0.0], [3.0, 0.0], [-0.1, 0.1]])).tolist() == [True, True, True]
    assert not ExitRule(threshold=float("inf")).exits(np.array([[100.0, 0.0]])).any()


@pytest.mark.parametrize(
    ("outputs", "kind", "told"),
    [
        ([[0.7, 0.7]], "probabilities", "no probabilities"),
        ([[1.2, -0.2]], "probabilities", "no probabilities"),
        ([[float("nan"), 1.0]], "logits", "NaN"),
        ([[1.0]], "logits", "at least two"),
        ([1.0, 2.0], "logits", "at least two"),
    ],
)
def test_what_is_no_score_is_refused(outputs: list[object], kind: str, told: str) -> None:
    with pytest.raises(TensorContractError, match=told):
        scores_of(np.array(outputs), "max-softmax", kind)  # type: ignore[arg-type]
