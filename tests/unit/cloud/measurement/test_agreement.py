"""Every task has the metric that its outputs are judged by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.models.card import ModelCard
from tercet_cloud.measurement.agreement import closeness, metric_for
from tercet_cloud.measurement.edit_distance import edit_distance, read_labels, text_likeness

words = st.lists(st.integers(1, 4), max_size=9)


def card(task: str) -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "model",
            "task": task,
            "licence": "Apache-2.0",
            "onnx": {"sha256": "0" * 64, "size_bytes": 1},
            "input": {"kind": "tensor"},
            "output": "y",
            "labels": ["a", "b"],
        }
    )


def scores(steps: list[int], labels: int = 5) -> np.ndarray:
    """(1, steps, labels) float32, highest at the label of each step."""
    return np.eye(labels, dtype=np.float32)[steps][np.newaxis]


def slow_distance(first: list[int], second: list[int]) -> int:
    if not first or not second:
        return len(first) + len(second)
    return min(
        slow_distance(first[1:], second[1:]) + (first[0] != second[0]),
        slow_distance(first[1:], second) + 1,
        slow_distance(first, second[1:]) + 1,
    )


@given(st.lists(st.integers(1, 3), max_size=5), st.lists(st.integers(1, 3), max_size=5))
def test_the_edit_distance_is_that_of_the_definition(first: list[int], second: list[int]) -> None:
    assert edit_distance(first, second) == slow_distance(first, second)


@given(words, words, words)
def test_the_edit_distance_is_a_distance(first: list[int], second: list[int], third: list[int]) -> None:
    assert edit_distance(first, second) == edit_distance(second, first)
    assert (edit_distance(first, second) == 0) == (first == second)
    assert edit_distance(first, third) <= edit_distance(first, second) + edit_distance(second, third)


def test_repeated_labels_are_one_and_blanks_part_them() -> None:
    assert read_labels(scores([0, 1, 1, 0, 1, 2, 2, 0])).tolist() == [1, 1, 2]
    assert read_labels(scores([0, 0])).tolist() == []
    assert read_labels(np.array([[3, 3, -1, -1]])).tolist() == [3, 3]


def test_texts_are_alike_by_the_letters_that_stay() -> None:
    assert text_likeness(scores([1, 0, 2, 0, 3, 0, 4]), scores([1, 0, 2, 0, 4])) == 0.75
    assert text_likeness(scores([0]), scores([0])) == 1
    assert text_likeness(scores([1]), scores([0])) == 0


def test_the_metric_is_that_of_the_task() -> None:
    assert metric_for(card("classification")).counted
    assert "cosine" in metric_for(card("embedding")).name
    assert "edit distance" in metric_for(card("text")).name
    assert "IoU" in metric_for(card("detection")).name
    assert "squared error / variance" in metric_for(card("other")).name


def test_squared_errors_are_relative_to_the_variance_over_all_frames() -> None:
    references = [np.array([[0.0]], np.float32), np.array([[2.0]], np.float32)]
    found = [np.array([[0.5]], np.float32), np.array([[9.0]], np.float32)]
    assert metric_for(card("other"), references).values(references, found) == [0.75, 0]


def test_a_frame_that_never_arrived_or_came_out_otherwise_is_not_alike() -> None:
    reference = np.ones((1, 4), np.float32)
    for task in ("embedding", "detection", "other", "classification", "text"):
        assert metric_for(card(task), [reference]).values([reference], [None]) == [0]
    for task in ("embedding", "detection", "other"):
        assert metric_for(card(task), [reference]).values([reference], [np.ones((2, 4), np.float32)]) == [0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_are_not_alike(value: float) -> None:
    reference, broken = np.array([1.0, 2.0]), np.array([value, 2.0])
    assert closeness(reference, broken, 1.0) == 0
    assert metric_for(card("embedding")).alike(reference, broken) == 0
