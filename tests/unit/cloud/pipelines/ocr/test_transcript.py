from __future__ import annotations

import numpy as np
import pytest
from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

from tercet.errors import TensorContractError
from tercet_cloud.pipelines.ocr.transcript import spell, transcript

ALPHABET = ("", "a", "b", "c", " ")
BOX = np.array([[0, 0], [9, 0], [9, 4], [0, 4]], np.float32)


@pytest.mark.parametrize(
    ("classes", "text"),
    [([0, 1, 1, 0, 1, 2, 2], "aab"), ([3, 4, 4, 3], "c c"), ([0, 0], ""), ([], ""), ([2], "b")],
)
def test_repeats_count_once_and_a_none_between_makes_a_double_letter(classes: list[int], text: str) -> None:
    assert spell(np.array(classes, np.int64), np.ones(len(classes), np.float32), ALPHABET)[0] == text


@pytest.mark.parametrize("seed", range(5))
def test_texts_and_scores_are_those_of_rapidocr(seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.2] * len(ALPHABET), (3, 40)).astype(np.float32)
    reference, _ = CTCLabelDecode(character=list(ALPHABET[1:-1]))(probabilities)
    for line, (text, score) in zip(probabilities, reference, strict=True):
        found = spell(line.argmax(axis=1), line.max(axis=1), ALPHABET)
        assert found[0] == text
        assert found[1] == pytest.approx(score, abs=2e-5)


def test_blank_and_doubtful_lines_are_left_out() -> None:
    lines = transcript([("yes", 0.9), ("  ", 0.9), ("no", 0.49), ("", 0.0), ("just", 0.5)], [BOX] * 5)
    assert [line["text"] for line in lines] == ["yes", "just"]
    assert lines[0]["corners"] == [[0.0, 0.0], [9.0, 0.0], [9.0, 4.0], [0.0, 4.0]]


def test_a_class_beyond_the_alphabet_is_refused() -> None:
    with pytest.raises(TensorContractError, match="class 5 of 5"):
        spell(np.array([0, 5]), np.ones(2, np.float32), ALPHABET)
